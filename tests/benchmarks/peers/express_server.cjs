// Express, bare or with express-session; serves until its standard input ends.
"use strict";

const express = require("express");
const { DATA, LIFETIME, listen, redisStore } = require("./common.cjs");

async function application(store, url) {
  const app = express();
  let visits = 0;
  if (store !== "bare") {
    const session = require("express-session");
    app.use(
      session({
        secret: "0123456789abcdef0123456789abcdef",
        resave: false,
        saveUninitialized: false,
        cookie: { maxAge: LIFETIME * 1000 },
        store: store === "redis" ? await redisStore(url) : new session.MemoryStore(),
      }),
    );
  }
  const answer = (work) => (request, response) => {
    response.type("text").send(work(request) === false ? "lost" : "ok");
  };
  app.get("/untouched", answer(() => {}));
  app.get("/start", answer((request) => request.session && Object.assign(request.session, DATA)));
  app.get("/read", answer((request) => request.session.user === DATA.user));
  app.get("/write", answer((request) => (request.session.visits = visits++)));
  app.get("/cpu", (request, response) => {
    const { user, system } = process.cpuUsage();
    response.type("text").send(`${(user + system) * 1000}`);
  });
  return app;
}

application(process.argv[2], process.argv[3]).then((app) => listen(app.listen(0, "127.0.0.1")));
