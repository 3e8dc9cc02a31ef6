// The page of the chat. Two parts: Link keeps the connection, the rest shows what comes over it.
// Whatever people write reaches the page as textContent only, so that no message can be HTML.

// Close codes after which connecting again makes sense; after any other the server has said "do not".
export const RECONNECT = [1001, 1006, 1011, 1012, 1013, 1014, 3008];
const MIN_DELAY = 500; // milliseconds
const MAX_DELAY = 20_000;
const PATIENCE = 10_000; // for a connection to open
const STABLE = 5_000; // a connection that lasted this long starts the back-off anew

/** Milliseconds to wait before attempt n (0, 1, ...): random, so that a restarted server is not run over. */
export function backoff(n, random = Math.random) {
  return Math.min(MAX_DELAY, MIN_DELAY + random() * Math.min(MAX_DELAY, MIN_DELAY * 2 ** n));
}

/** A WebSocket that comes back, each time to url(). Calls onstate("connecting" | "connected" | "waiting" | "ended", reason) and onevent(object). */
class Link {
  #url;
  #socket;
  #timer;
  #attempt = 0;
  #ended = false;

  constructor(url, { onstate, onevent }) {
    this.#url = url;
    this.onstate = onstate;
    this.onevent = onevent;
    this.#connect();
  }

  get connected() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  send(event) {
    this.#socket.send(JSON.stringify(event));
  }

  /** Do not wait any longer for the next attempt. */
  retry() {
    if (!this.#socket && !this.#ended) this.#connect();
  }

  /** Leave this connection for a new one. */
  renew() {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close(1000);
    this.#connect();
  }

  close() {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#socket?.close(1000);
    this.#socket = undefined;
  }

  #connect() {
    clearTimeout(this.#timer);
    this.onstate("connecting");
    const socket = (this.#socket = new WebSocket(this.#url()));
    let opened = Infinity;
    this.#timer = setTimeout(() => this.#lost(socket, 1006, "", opened), PATIENCE);
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      clearTimeout(this.#timer);
      opened = Date.now();
      this.onstate("connected");
    };
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.onevent(JSON.parse(data));
    };
    socket.onclose = ({ code, reason }) => this.#lost(socket, code, reason, opened);
  }

  #lost(socket, code, reason, opened) {
    if (socket !== this.#socket) return;
    this.#socket = undefined;
    clearTimeout(this.#timer);
    socket.close();
    if (!RECONNECT.includes(code)) {
      this.#ended = true;
      this.onstate("ended", reason || `The server closed the connection (${code}).`);
      return;
    }
    if (Date.now() - opened > STABLE) this.#attempt = 0;
    this.#timer = setTimeout(() => this.#connect(), backoff(this.#attempt++));
    this.onstate("waiting");
  }
}

// What is on the page

const $ = (id) => document.getElementById(id);
const KEEP = 500; // messages on the page
const TOGETHER = 120_000; // messages of one person within this time stand together
const TYPING_EVERY = 2_000; // how often "typing" is repeated ...
const TYPING_LASTS = 5_000; // ... and when it is forgotten without
const REPEATABLE = 240_000; // how long the server knows a message again that it is sent twice
const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat([], { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

let link; // while in a room
let room = "";
let myName = "";
let me; // my id, which the server makes of a secret that only this tab knows
let position = ""; // of the last message on the page: where to go on after a reconnect
let welcomed = false; // this stay has seen a connection
let unread = 0;
const connections = new Map(); // ref -> id and name: one of somebody here
const gone = new Set(); // refs that have left: a list that is older must not bring them back
const typists = new Map(); // id -> name and timer
const pending = new Map(); // nonce -> my message that has not come back from the server yet, in order

/** An element with a class and a text: the only way that text gets into the page. */
function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function face(name) {
  const made = element("span", "face", [...name][0].toUpperCase());
  made.setAttribute("aria-hidden", "true");
  return made;
}

/** The same name has the same colour on every page: one of twelve, so that two differ visibly (FNV-1a hash). */
function hue(name) {
  let hash = 0x811c9dc5;
  for (const char of name) hash = Math.imul(hash ^ char.codePointAt(0), 0x01000193);
  return (((hash ^ (hash >>> 15)) >>> 0) % 12) * 30;
}

// The log

const atBottom = () => $("log").scrollHeight - $("log").scrollTop - $("log").clientHeight < 80;

function scrollDown() {
  $("log").scrollTop = $("log").scrollHeight;
  $("newer").hidden = true;
}

function add(item, mine = false) {
  const follow = mine || atBottom();
  $("empty").hidden = true;
  $("log").append(item);
  arrange(item);
  while ($("log").children.length > KEEP) $("empty").nextElementSibling.remove();
  if (follow) scrollDown();
  else $("newer").hidden = false;
}

function note(text) {
  add(element("p", "note", text));
}

/** Let a message stand together with the one before it, if that is the same person's and recent. */
function arrange(item) {
  const before = item?.previousElementSibling;
  const same = before?.dataset.from === item?.dataset.from;
  item?.classList.toggle("follows", Boolean(same && item.dataset.from && item.dataset.at - before.dataset.at < TOGETHER));
}

function bubble({ id, name, text, time }, mine) {
  const item = element("div", mine ? "message own" : "message");
  item.style.setProperty("--hue", hue(name));
  item.dataset.from = mine ? "me" : id;
  const who = element("div", "who");
  const when = element("time", "");
  who.append(element("bdi", mine ? "name unseen" : "name", mine ? "You" : name), when);
  const words = element("div", "text", text);
  words.dir = "auto";
  item.append(face(name), who, words);
  stamp(item, time);
  return item;
}

function stamp(item, time) {
  const when = item.querySelector("time");
  const date = new Date(time);
  when.dateTime = time;
  when.textContent = (Date.now() - date < 43_200_000 ? clock : calendar).format(date);
  item.dataset.at = Date.parse(time);
}

// My own messages are shown at once, paler until they come back from the server. What has not come back when the
// connection breaks is sent again on the next one under the same nonce, by which the server knows it.

function randomHex() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function say(text) {
  const item = bubble({ name: myName, text, time: new Date().toISOString() }, true);
  const nonce = randomHex();
  item.classList.add("pending");
  pending.set(nonce, item);
  add(item, true);
  link.send({ type: "message", text, nonce });
}

function sayAgain() {
  for (const [nonce, item] of pending) {
    if (Date.now() - item.dataset.at > REPEATABLE) undelivered(nonce);
    else link.send({ type: "message", text: item.querySelector(".text").textContent, nonce });
  }
}

function arrived(item, time) {
  const after = item.nextElementSibling;
  item.classList.remove("pending");
  stamp(item, time);
  if (after) $("log").append(item); // others were faster: everybody sees the server's order
  arrange(after);
  arrange(item);
}

function undelivered(nonce) {
  const item = pending.get(nonce);
  pending.delete(nonce);
  item.classList.replace("pending", "lost");
  const fate = element("div", "fate", "Perhaps not delivered.");
  const again = element("button", "quiet", "Send again");
  again.type = "button";
  again.onclick = () => {
    if (!link?.connected) return;
    item.remove();
    say(item.querySelector(".text").textContent);
    $("text").focus();
  };
  fate.append(again);
  const follow = atBottom();
  item.append(fate);
  if (follow) scrollDown();
}

// Who is here, who is typing

/** id -> name: one entry for everybody, however many windows they have. */
const people = () => new Map([...connections.values()].map(({ id, name }) => [id, name]));

function showPeople() {
  const sorted = [...people()].sort(([a, nameA], [b, nameB]) => (b === me) - (a === me) || nameA.localeCompare(nameB));
  $("people").replaceChildren(
    ...sorted.map(([id, name]) => {
      const item = element("li", id === me ? "own" : "");
      item.style.setProperty("--hue", hue(name));
      item.append(face(name), element("bdi", "", name));
      return item;
    }),
  );
  $("people-count").textContent = sorted.length;
}

function* each(people) {
  for (const [id, metas] of Object.entries(people)) for (const { ref, name } of metas) yield { ref, id, name };
}

function showTyping(id, name, active) {
  clearTimeout(typists.get(id)?.timer);
  typists.delete(id);
  if (active) typists.set(id, { name, timer: setTimeout(() => showTyping(id, name, false), TYPING_LASTS) });
  const names = [...typists.values()].map((typist) => typist.name);
  if (names.length === 0) $("typing").textContent = "";
  else if (names.length > 2) $("typing").textContent = "Several people are typing…";
  else $("typing").textContent = `${names.join(" and ")} ${names.length === 1 ? "is" : "are"} typing…`;
}

function nobodyTypes() {
  for (const [id, { name }] of [...typists]) showTyping(id, name, false);
}

// What the server says

const handlers = {
  welcome({ you, worker }) {
    me = you;
    connections.clear();
    gone.clear();
    welcomed = true;
    $("state").title = `Process ${worker} serves this page.`;
  },
  present({ people }) {
    for (const { ref, id, name } of each(people)) if (!gone.has(ref)) connections.set(ref, { id, name });
    showPeople();
    sayAgain();
  },
  people({ leaves, joins }) {
    const before = people();
    for (const { ref } of each(leaves)) {
      connections.delete(ref);
      gone.add(ref);
    }
    for (const { ref, id, name } of each(joins)) {
      connections.set(ref, { id, name });
      gone.delete(ref);
    }
    const after = people();
    showPeople();
    for (const [id, name] of before) if (!after.has(id)) note(`${name} left`);
    for (const [id, name] of after) if (!before.has(id) && id !== me) note(`${name} joined`);
  },
  message(message) {
    position = message.position;
    const mine = message.id === me;
    const item = mine && pending.get(message.nonce);
    if (item) {
      pending.delete(message.nonce);
      arrived(item, message.time);
      return;
    }
    showTyping(message.id, message.name, false);
    add(bubble(message, mine));
    if (document.hidden) showTitle(unread + 1);
  },
  typing({ id, name, active }) {
    showTyping(id, name, active);
  },
  reload() {
    position = "";
    note("Some of what was said in between is missing here.");
    for (const nonce of [...pending.keys()]) undelivered(nonce);
    link.renew();
  },
  error({ errors }) {
    $("problem").textContent = errors[0].msg;
    for (const nonce of [...pending.keys()].slice(0, 1)) undelivered(nonce);
  },
};

const states = { connecting: "Connecting…", connected: "Connected", waiting: "Reconnecting…", ended: "Disconnected" };

function showState(state, reason) {
  // An attempt to reconnect is still "reconnecting" for the reader: no flicker between two words.
  const shown = state === "connecting" && welcomed ? "waiting" : state;
  $("state").dataset.state = shown;
  $("state-text").textContent = states[shown];
  $("retry").hidden = state !== "waiting";
  allowSending();
  if (state === "waiting" || state === "ended") nobodyTypes();
  if (state === "ended") leave(reason);
}

function showTitle(count = 0) {
  unread = count;
  const name = room ? `#${room} · trunkline` : "Chat · trunkline";
  document.title = unread ? `(${unread}) ${name}` : name;
}

// Entering and leaving. The room is in the address (`/#lobby`), so that the address can be shared.

const keep = (storage, key, value) => {
  try {
    return value === undefined ? storage().getItem(key) : storage().setItem(key, value);
  } catch {
    return null; // storage is off: the name is asked for again
  }
};
const thisTab = () => sessionStorage;
const thisBrowser = () => localStorage;

const secret = keep(thisTab, "secret") ?? randomHex();
keep(thisTab, "secret", secret);

/** A name for a room as it may stand in an address: letters, digits, - and _. */
function roomName(text) {
  const plain = text.normalize("NFC").toLowerCase().replace(/[^\p{L}\p{M}\p{N}_-]+/gu, "-");
  return [...plain.replace(/^-+|-+$/g, "")].slice(0, 40).join("");
}

function roomInAddress() {
  try {
    return roomName(decodeURIComponent(location.hash.slice(1)));
  } catch {
    return "";
  }
}

function address() {
  const url = new URL(`rooms/${encodeURIComponent(room)}`, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.search = new URLSearchParams({ name: myName, secret, since: position });
  url.hash = "";
  return url;
}

function enter(newRoom, name) {
  link?.close();
  room = newRoom;
  myName = name;
  welcomed = false;
  unread = 0;
  position = "";
  pending.clear();
  connections.clear();
  $("log").replaceChildren($("empty"));
  $("empty").hidden = false;
  $("problem").textContent = "";
  $("title").textContent = room;
  $("door").hidden = true;
  $("chat").hidden = false;
  showTitle();
  showPeople();
  link = new Link(address, { onstate: showState, onevent: (event) => handlers[event.type]?.(event) });
  $("text").focus();
}

function leave(reason = "") {
  link?.close();
  link = undefined;
  keep(thisTab, "name", "");
  nobodyTypes();
  $("room").value = room || roomInAddress() || "lobby";
  $("name").value = myName || keep(thisBrowser, "name") || "";
  room = "";
  $("refusal").textContent = reason;
  $("chat").hidden = true;
  $("door").hidden = false;
  showTitle();
  $("name").focus();
}

function followAddress() {
  const wanted = roomInAddress();
  const name = myName || keep(thisTab, "name");
  if (wanted && wanted === room) return;
  if (wanted && name && (link || !myName)) enter(wanted, name);
  else leave();
}

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name").value.trim();
  const wanted = roomName($("room").value);
  if (!name || !wanted) {
    $("refusal").textContent = name ? "A room needs a name of letters or digits." : "Please say who you are.";
    return;
  }
  keep(thisTab, "name", name);
  keep(thisBrowser, "name", name);
  enter(wanted, name);
  if (roomInAddress() !== wanted) location.hash = wanted;
});

$("leave").addEventListener("click", () => {
  leave();
  history.pushState(null, "", location.pathname + location.search);
});

$("share").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    $("share").textContent = "Copied";
    setTimeout(() => ($("share").textContent = "Copy link"), 2_000);
  } catch {
    prompt("The link to this room:", location.href); // no clipboard without https
  }
});

// Writing

let toldTyping = 0;

function tellTyping(active) {
  if (!link?.connected || (active ? Date.now() - toldTyping < TYPING_EVERY : !toldTyping)) return;
  toldTyping = active ? Date.now() : 0;
  link.send({ type: "typing", active });
}

function allowSending() {
  $("send").disabled = !link?.connected || !$("text").value.trim();
}

function grow() {
  const follow = atBottom();
  $("text").style.height = "auto";
  $("text").style.height = `${$("text").scrollHeight + 2}px`;
  if (follow) scrollDown();
}

$("text").addEventListener("input", () => {
  grow();
  allowSending();
  tellTyping(Boolean($("text").value.trim()));
});

$("text").addEventListener("blur", () => tellTyping(false));

$("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("compose").requestSubmit();
});

$("compose").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text || !link?.connected) return; // what is written stays until it can be sent
  $("problem").textContent = "";
  toldTyping = 0; // the message says it
  say(text);
  $("text").value = "";
  grow();
  allowSending();
  $("text").focus();
});

$("log").addEventListener("scroll", () => atBottom() && ($("newer").hidden = true));
$("newer").addEventListener("click", scrollDown);
$("retry").addEventListener("click", () => link?.retry());
window.addEventListener("online", () => link?.retry());
window.addEventListener("hashchange", followAddress);
window.addEventListener("resize", () => {
  if (!link) return;
  scrollDown(); // the keyboard of a phone takes half of the log
  grow();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  showTitle();
  link?.retry();
});

followAddress();
