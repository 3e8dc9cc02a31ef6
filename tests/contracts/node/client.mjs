// The contract suite's client on Node's `ws`: one case per line of JSON on stdin, its outcome as a line on stdout.
// The vocabulary is that of ../script.py; this is the twin of `drive` in ../clients.py.

import readline from 'node:readline';
import WebSocket from 'ws';

class TimeoutError extends Error {}

const within = (seconds, promise, what) => {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new TimeoutError(`waited ${seconds} s for ${what}`)), seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

const pairs = (raw) => {
  const found = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i].toLowerCase();
    if (name.startsWith('x-')) found.push([name, raw[i + 1]]);
  }
  return found;
};

// A connection that reads all the time. `changed` is called whenever something happened.
class Connection {
  constructor(url, { subprotocols = [], headers = [] } = {}) {
    this.received = [];
    this.headers = [];
    this.refused = null;
    this.ended = null;
    this.error = null;
    this.waiting = new Set();
    const ws = new WebSocket(url, subprotocols, { headers: grouped(headers) });
    this.ws = ws;
    ws.on('upgrade', (response) => { this.headers = pairs(response.rawHeaders); });
    ws.on('open', () => this.changed());
    ws.on('message', (data, isBinary) => {
      this.received.push(isBinary ? { bytes: data.toString('base64') } : data.toString());
      this.changed();
    });
    ws.on('close', (code, reason) => { this.ended = [code, reason.toString()]; this.changed(); });
    ws.on('error', (error) => { this.error = error; this.changed(); });
    ws.on('unexpected-response', (request, response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => {
        this.headers = pairs(response.rawHeaders);
        this.refused = { status: response.statusCode, body: Buffer.concat(chunks).toString() };
        this.changed();
      });
    });
  }

  changed() {
    for (const look of this.waiting) look();
  }

  until(condition, seconds, what) {
    const met = new Promise((resolve) => {
      const look = () => {
        if (!condition()) return;
        this.waiting.delete(look);
        resolve();
      };
      this.waiting.add(look);
      look();
    });
    return within(seconds, met, what);
  }

  opened(seconds) {
    const settled = () => this.ws.readyState !== WebSocket.CONNECTING || this.refused || this.error;
    return this.until(settled, seconds, 'the answer to the handshake');
  }

  end(seconds) {
    return this.until(() => this.ended !== null, seconds, 'the end of the connection');
  }
}

const grouped = (headers) => {
  const byName = {};
  for (const [name, value] of headers) (byName[name.toLowerCase()] ??= []).push(value);
  return Object.fromEntries(Object.entries(byName).map(([name, all]) => [name, all.length > 1 ? all : all[0]]));
};

const steps = {
  send: ({ connection }, step) => connection.ws.send(step.bytes === undefined ? step.text : Buffer.from(step.bytes, 'base64')),
  receive: async (state, step) => {
    state.wanted += step.number;
    const enough = () => state.connection.received.length >= state.wanted || state.connection.ended;
    await state.connection.until(enough, state.seconds, `message ${state.wanted}`);
    const got = state.connection.received.length;
    if (got < state.wanted) throw new Error(`wanted ${state.wanted} messages, got ${got}, then the end`);
  },
  close: (state, step) => {
    state.mine = true;
    if (step.code === null) state.connection.ws.close();
    else state.connection.ws.close(step.code, step.reason);
  },
  drop: (state) => {
    state.mine = true;
    state.connection.ws.terminate();
  },
  end: (state) => state.connection.end(state.seconds),
  gate: async (state) => {
    const gate = new Connection(state.gate);
    await gate.end(state.seconds);
  },
};

const notes = async (url, seconds) => {
  const connection = new Connection(url);
  await connection.end(seconds * 2);
  return JSON.parse(connection.received[0]);
};

const run = async (given) => {
  const connection = new Connection(given.url, given);
  const state = { connection, wanted: 0, mine: false, gate: given.gate, seconds: given.seconds };
  await connection.opened(given.seconds);
  if (connection.refused) {
    const { status, body } = connection.refused;
    const seen = given.reached ? await notes(given.seen, given.seconds) : [];
    return { refused: status, body, headers: connection.headers, seen };
  }
  for (const step of given.steps) await steps[step.do](state, step);
  await connection.end(given.seconds);
  const seen = given.reached ? await notes(given.seen, given.seconds) : [];
  return {
    subprotocol: connection.ws.protocol || null,
    headers: connection.headers,
    received: connection.received,
    closed: state.mine ? null : connection.ended,
    seen,
  };
};

const failed = (error) => (error instanceof TimeoutError ? { timeout: error.message } : { error: String(error) });

for await (const line of readline.createInterface({ input: process.stdin })) {
  const given = JSON.parse(line);
  const answer = await run(given).catch(failed);
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(); // also when a server has left a connection open
