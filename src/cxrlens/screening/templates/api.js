"use strict";
// Asking the server; whatever goes wrong becomes an error whose message is a sentence.

async function ask(address, options = {}) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Error("The server does not answer; is it still running?");
  }
  if (response.ok) return response;
  let detail;
  try {
    ({ detail } = await response.json());
  } catch {
    detail = `the server answered with status ${response.status}`;
  }
  throw Object.assign(new Error(sentence(String(detail))), { status: response.status });
}

async function answerOf(address, options) {
  return (await ask(address, options)).json();
}

function sentence(words) {
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}${/[.!?]$/.test(words) ? "" : "."}`;
}
