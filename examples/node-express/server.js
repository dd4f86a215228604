"use strict";

// A small Express app: a page that says what runs, JSON for scripts, posts that it counts. It ends at once on SIGTERM, after the requests
// that are under way.

const express = require("express");

const version = require("./package.json").version;
const colour = process.env.TEAL_COLOUR ?? "";
const port = Number(process.env.PORT ?? 8080);
let posts = 0;

const app = express();
app.disable("x-powered-by");
app.use((request, response, next) => {
  response.set({ "x-version": version, "x-colour": colour });
  next();
});
app.get("/", (request, response) => {
  response.type("html").send(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>hello ${version}</title>
<body style="font:24px/1.5 sans-serif;padding:10vh 10vw">
<h1>Hello from Express, version ${version}</h1>
<p>Commit ${(process.env.COMMIT_ID ?? "none").slice(0, 7)}, in the place called ${colour || "nothing yet"}.</p></body></html>
`);
});
app.get("/info", (request, response) => {
  const { COMMIT_ID: commit, INSTANCE_ID: instance, INSTANCE_NUMBER: number } = process.env;
  response.json({ version, colour, commit, instance, number, posts, node: process.version });
});
app.post("/record", (request, response) => {
  posts += 1;
  response.json({ posts });
});

const server = app.listen(port, "0.0.0.0", (error) => {
  if (error) throw error;
  console.log(`version ${version} listens on port ${port}`);
});
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
