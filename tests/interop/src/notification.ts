/** The article's notification service: says on standard output what the inventory said, one event a line. */
import { consume } from "./streams.js";

await consume("inventory_stream", "typescript-notification", async (event) => {
  console.log(JSON.stringify(event));
});
