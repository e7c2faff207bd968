/** The article's order service: publishes one order, and says which event that was. */
import { connect, publish } from "./streams.js";

const [orderId, productId, quantity] = process.argv.slice(2);
const redis = connect();
const items = [{ productId, quantity: Number(quantity), price: 9.99 }];
const event = await publish(redis, "orders_stream", "order.created", { orderId, items, totalAmount: 9.99 });
console.log(JSON.stringify(event));
redis.disconnect();
