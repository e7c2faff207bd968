/** Publishing and consuming as the article does it: one field, `event`, that holds JSON. */
import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";

export interface Event<Data = unknown> {
  type: string;
  data: Data;
  metadata: { eventId: string; timestamp: string };
}

export interface Item {
  productId: string;
  quantity: number;
}

export interface OrderCreated {
  orderId: string;
  items: Item[];
}

export function connect(): Redis {
  return new Redis(process.env.REDIS_URL ?? "redis://localhost:6379");
}

export async function publish(redis: Redis, stream: string, type: string, data: unknown): Promise<Event> {
  const event = { type, data, metadata: { eventId: randomUUID(), timestamp: new Date().toISOString() } };
  await redis.xadd(stream, "*", "event", JSON.stringify(event));
  return event;
}

type Entries = [id: string, fields: string[]][];

/** Handles every event of a stream, as one consumer of a group, until the process is told to end. */
export async function consume(
  stream: string,
  group: string,
  handle: (event: Event, redis: Redis) => Promise<void>,
): Promise<void> {
  const reader = connect();
  const redis = connect();
  await redis.xgroup("CREATE", stream, group, "0", "MKSTREAM").catch((error: Error) => {
    if (!error.message.includes("BUSYGROUP")) throw error;
  });
  let running = true;
  process.once("SIGTERM", () => (running = false));
  while (running) {
    const replies = (await reader.xreadgroup(
      "GROUP", group, `node-${process.pid}`, "COUNT", 10, "BLOCK", 200, "STREAMS", stream, ">",
    )) as [stream: string, entries: Entries][] | null;
    for (const [, entries] of replies ?? []) {
      for (const [id, fields] of entries) {
        await handle(JSON.parse(fields[fields.indexOf("event") + 1]!), redis);
        await redis.xack(stream, group, id);
      }
    }
  }
  reader.disconnect();
  redis.disconnect();
}
