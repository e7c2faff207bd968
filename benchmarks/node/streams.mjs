// The peers on Node: `node streams.mjs WHO WORK URL COUNT`, with the same words on standard output as benchmarks/child.py.
import { once } from "node:events";
import { createInterface } from "node:readline";
import Ajv from "ajv";
import { Redis } from "ioredis";

const [who, work, url, text] = process.argv.slice(2);
const count = Number(text);
const [stream, outcomes, group, batch, awaiters] = ["orders_stream", "inventory_stream", "bench", 500, 64];

const valid = new Ajv().compile({
  type: "object",
  required: ["type", "data", "metadata"],
  properties: {
    type: { type: "string" },
    metadata: { type: "object" },
    data: {
      type: "object",
      required: ["orderId", "items"],
      properties: {
        orderId: { type: "string", minLength: 1, maxLength: 200 },
        customerId: { type: "string", nullable: true },
        items: {
          type: "array",
          minItems: 1,
          items: {
            type: "object",
            required: ["productId", "quantity"],
            properties: {
              productId: { type: "string", minLength: 1, maxLength: 64 },
              quantity: { type: "integer", minimum: 1, maximum: 10000 },
            },
          },
        },
      },
    },
  },
});

function parse(text) {
  const event = JSON.parse(text);
  if (!valid(event)) throw new Error(JSON.stringify(valid.errors));
  return event;
}

function order(number) {
  const items = [0, 7, 14].map((step) => ({ productId: String((number + step) % 100), quantity: 1 }));
  return envelope("order.created", { orderId: `order-${number}`, items, customerId: "VINET" });
}

function envelope(type, data, cause = null) {
  const metadata = {
    eventId: crypto.randomUUID(),
    timestamp: new Date().toISOString(),
    version: "1.1",
    correlationId: "4bf92f3577b34da6a3ce929d0e0e4736",
    causationId: cause,
    source: "bench",
    traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
  };
  return JSON.stringify({ type, data, metadata });
}

const reserved = ({ data, metadata }) =>
  envelope("inventory.reserved", { orderId: data.orderId, items: data.items }, metadata.eventId);

const fields = (entry) => entry[1][entry[1].indexOf("event") + 1];

// What one event makes the server do; `to` is a client or a pipeline.
const writes = {
  "consume, acknowledge": () => [],
  "consume, publish one, acknowledge": (to, event) => [to.xadd(outcomes, "*", "event", reserved(event))],
  "consume, reserve, publish, acknowledge": (to, event) => [
    ...event.data.items.map(({ productId, quantity }) => to.hincrby("stock", `${productId}:available`, -quantity)),
    to.hset(`reservation:${event.data.orderId}`, "status", "reserved"),
    to.xadd(outcomes, "*", "event", reserved(event)),
  ],
};

const client = () => new Redis(url, { maxRetriesPerRequest: null });

// 64 loops, each of which awaits its own.
function concurrently(publish) {
  let next = 0;
  const loop = async () => {
    while (next < count) await publish(order(next++));
  };
  return Promise.all(Array.from({ length: awaiters }, loop));
}

async function consume(redis, most, handle) {
  await redis.xgroup("CREATE", stream, group, "0", "MKSTREAM");
  for (let done = 0; done < count; ) {
    const answer = await redis.xreadgroup("GROUP", group, "c", "COUNT", most, "BLOCK", 1000, "STREAMS", stream, ">");
    for (const [, entries] of answer ?? []) {
      await handle(entries);
      done += entries.length;
    }
  }
}

// Ten at a time, each handled and acknowledged before the next.
async function asInTheArticle() {
  const redis = client();
  return async () => {
    if (work === "publish, 64 awaiters") await concurrently((event) => redis.xadd(stream, "*", "event", event));
    else
      await consume(redis, 10, async (entries) => {
        for (const entry of entries) {
          const event = parse(fields(entry));
          for (const write of writes[work](redis, event)) await write;
          await redis.xack(stream, group, entry[0]);
        }
      });
    await redis.quit();
  };
}

async function batched() {
  const redis = client();
  return async () => {
    if (work === "publish, batched")
      for (let first = 0; first < count; first += batch) {
        const pipeline = redis.pipeline();
        for (let number = first; number < Math.min(first + batch, count); number++)
          pipeline.xadd(stream, "*", "event", order(number));
        await pipeline.exec();
      }
    else
      await consume(redis, batch, async (entries) => {
        const pipeline = redis.pipeline();
        for (const entry of entries) writes[work](pipeline, parse(fields(entry)));
        pipeline.xack(stream, group, ...entries.map(([id]) => id));
        await pipeline.exec();
      });
    await redis.quit();
  };
}

async function bullmq() {
  const { Queue, Worker } = await import("bullmq");
  const queue = new Queue("orders", { connection: client() });
  const next = new Queue("inventory", { connection: client() });
  await queue.waitUntilReady();
  if (work === "publish, 64 awaiters")
    return async () => {
      await concurrently((event) => queue.add("order.created", event));
      await Promise.all([queue.close(), next.close()]);
    };
  for (let first = 0; first < count; first += batch)
    await queue.addBulk(
      Array.from({ length: Math.min(batch, count - first) }, (_, number) => ({
        name: "order.created",
        data: order(first + number),
      })),
    );
  return async () => {
    let done = 0;
    let finish;
    const finished = new Promise((resolve) => (finish = resolve));
    const handle = async (job) => {
      const event = parse(job.data);
      if (work === "consume, publish one, acknowledge") await next.add("inventory.reserved", reserved(event));
    };
    const worker = new Worker("orders", handle, { connection: client(), concurrency: awaiters });
    worker.on("completed", () => ++done === count && finish());
    await finished;
    await worker.close();
    await Promise.all([queue.close(), next.close()]);
  };
}

const prepare = { "ioredis as in the article": asInTheArticle, "ioredis, batched": batched, BullMQ: bullmq }[who];
const timed = await prepare();
console.log("ready");
const input = createInterface({ input: process.stdin });
await once(input, "line");
const wall = process.hrtime.bigint();
const cpu = process.cpuUsage();
await timed();
const used = process.cpuUsage(cpu);
console.log(
  JSON.stringify({ wall: Number(process.hrtime.bigint() - wall) / 1e9, cpu: (used.user + used.system) / 1e6 }),
);
process.exit(0);
