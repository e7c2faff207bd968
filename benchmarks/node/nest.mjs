// The article's stack: Nest on Express, class-validator, one XADD for each order. `node nest.mjs PORT URL`.
// Decorators are applied by hand, as TypeScript's compiler does, so that nothing has to be compiled.
import "reflect-metadata";
import { Body, Controller, Get, HttpCode, Module, Post, ValidationPipe } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { Type } from "class-transformer";
import { ArrayMaxSize, ArrayMinSize, IsArray, IsInt, IsOptional, IsString, Length, Max, Min, ValidateNested } from "class-validator";
import { Redis } from "ioredis";

const [port, url] = process.argv.slice(2);
const redis = new Redis(url);

function decorate(decorators, target, key) {
  const descriptor = Object.getOwnPropertyDescriptor(target, key);
  for (const each of decorators.reverse()) each(target, key, descriptor);
}

class Line {}
decorate([IsString(), Length(1, 64)], Line.prototype, "productId");
decorate([IsInt(), Min(1), Max(10000)], Line.prototype, "quantity");

class CreateOrder {}
decorate(
  [IsArray(), ArrayMinSize(1), ArrayMaxSize(100), ValidateNested({ each: true }), Type(() => Line)],
  CreateOrder.prototype,
  "items",
);
decorate([IsOptional(), IsString(), Length(1, 200)], CreateOrder.prototype, "customerId");

class OrderController {
  async create(body) {
    const id = crypto.randomUUID();
    const event = {
      type: "order.created",
      data: { orderId: id, items: body.items, customerId: body.customerId },
      metadata: {
        eventId: crypto.randomUUID(),
        timestamp: new Date().toISOString(),
        version: "1.1",
        correlationId: "4bf92f3577b34da6a3ce929d0e0e4736",
        causationId: null,
        source: "bench",
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
      },
    };
    await redis.xadd("orders_stream", "*", "event", JSON.stringify(event));
    return { id, status: "processing" };
  }

  ready() {
    return "ready";
  }
}
Reflect.defineMetadata("design:paramtypes", [CreateOrder], OrderController.prototype, "create");
Body()(OrderController.prototype, "create", 0);
decorate([Post("orders"), HttpCode(202)], OrderController.prototype, "create");
decorate([Get("readyz")], OrderController.prototype, "ready");
Controller()(OrderController);

class AppModule {}
Module({ controllers: [OrderController] })(AppModule);

const app = await NestFactory.create(AppModule, { logger: false });
app.useGlobalPipes(new ValidationPipe({ whitelist: true, transform: true }));
await app.listen(Number(port), "127.0.0.1");
