/** Publishing and consuming as the article does it: one field, `event`, that holds JSON. */
import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
export function connect() {
    return new Redis(process.env.REDIS_URL ?? "redis://localhost:6379");
}
export async function publish(redis, stream, type, data) {
    const event = { type, data, metadata: { eventId: randomUUID(), timestamp: new Date().toISOString() } };
    await redis.xadd(stream, "*", "event", JSON.stringify(event));
    return event;
}
/** Handles every event of a stream, as one consumer of a group, until the process is told to end. */
export async function consume(stream, group, handle) {
    const reader = connect();
    const redis = connect();
    await redis.xgroup("CREATE", stream, group, "0", "MKSTREAM").catch((error) => {
        if (!error.message.includes("BUSYGROUP"))
            throw error;
    });
    let running = true;
    process.once("SIGTERM", () => (running = false));
    while (running) {
        const replies = (await reader.xreadgroup("GROUP", group, `node-${process.pid}`, "COUNT", 10, "BLOCK", 200, "STREAMS", stream, ">"));
        for (const [, entries] of replies ?? []) {
            for (const [id, fields] of entries) {
                await handle(JSON.parse(fields[fields.indexOf("event") + 1]), redis);
                await redis.xack(stream, group, id);
            }
        }
    }
    reader.disconnect();
    redis.disconnect();
}
