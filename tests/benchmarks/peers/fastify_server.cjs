// Fastify, bare or with @fastify/session; serves until its standard input ends.
"use strict";

const fastify = require("fastify");
const { DATA, LIFETIME, listen, redisStore } = require("./common.cjs");

async function application(store, url) {
  const app = fastify();
  let visits = 0;
  if (store !== "bare") {
    app.register(require("@fastify/cookie"));
    app.register(require("@fastify/session"), {
      secret: "0123456789abcdef0123456789abcdef",
      saveUninitialized: false,
      rolling: false,
      cookie: { secure: false, maxAge: LIFETIME * 1000 },
      ...(store === "redis" ? { store: await redisStore(url) } : {}),
    });
  }
  const answer = (work) => async (request, reply) => {
    reply.type("text/plain");
    return work(request) === false ? "lost" : "ok";
  };
  app.get("/untouched", answer(() => {}));
  app.get("/start", answer((request) => request.session && Object.assign(request.session, DATA)));
  app.get("/read", answer((request) => request.session.user === DATA.user));
  app.get("/write", answer((request) => (request.session.visits = visits++)));
  app.get("/cpu", async () => {
    const { user, system } = process.cpuUsage();
    return `${(user + system) * 1000}`;
  });
  await app.listen({ port: 0, host: "127.0.0.1" });
  return app;
}

application(process.argv[2], process.argv[3]).then((app) => listen(app.server));
