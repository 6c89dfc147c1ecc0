// What both servers on node have in common.
"use strict";

const DATA = { user: "ada@example.org", theme: "dark", language: "en" };
const LIFETIME = 24 * 60 * 60;

async function redisStore(url) {
  const { RedisStore } = require("connect-redis");
  const client = require("redis").createClient({ url });
  await client.connect();
  return new RedisStore({ client });
}

function listen(server) {
  const tell = () => console.log(server.address().port);
  if (server.listening) tell();
  else server.on("listening", tell);
  process.stdin.on("end", () => process.exit()).resume();
}

module.exports = { DATA, LIFETIME, listen, redisStore };
