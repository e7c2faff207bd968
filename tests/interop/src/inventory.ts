/** The article's inventory service, with endless shelves: reserves whatever is ordered. */
import { consume, publish, type OrderCreated } from "./streams.js";

await consume("orders_stream", "typescript-inventory", async (event, redis) => {
  if (event.type !== "order.created") return;
  const { orderId, items } = event.data as OrderCreated;
  await publish(redis, "inventory_stream", "inventory.reserved", { orderId, items });
});
