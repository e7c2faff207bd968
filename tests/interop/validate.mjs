// Says what AsyncAPI's own parser has against documents; ends with 1 if that is an error or a warning.
import { Parser, fromFile } from "@asyncapi/parser";

const [error, warning] = [0, 1];
const parser = new Parser();
for (const path of process.argv.slice(2)) {
  const { document, diagnostics } = await fromFile(parser, path).parse();
  for (const { severity, code, message, path: place } of diagnostics) {
    console.log(`${path}: ${["error", "warning", "information", "hint"][severity]} ${code} at ${place.join(".")}: ${message}`);
    if (severity === error || severity === warning) process.exitCode = 1;
  }
  if (document === undefined) process.exitCode = 1;
  else console.log(`${path}: AsyncAPI ${document.version()}, ${document.allOperations().all().length} operations`);
}
