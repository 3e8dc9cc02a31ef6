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

/** A WebSocket that comes back. Calls onstate("connecting" | "connected" | "waiting" | "ended", reason) and onevent(object). */
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

  close() {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#socket?.close(1000);
    this.#socket = undefined;
  }

  #connect() {
    clearTimeout(this.#timer);
    this.onstate("connecting");
    const socket = (this.#socket = new WebSocket(this.#url));
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
const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });

let link; // while in a room
let room = "";
let myName = "";
let me; // my id, another one after each reconnect
let welcomed = false; // this stay has seen a connection
let unread = 0;
const people = new Map(); // id -> name
const typists = new Map(); // id -> timer
const pending = []; // my messages that the server has not shown yet, in order

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
  when.dateTime = time;
  when.textContent = clock.format(new Date(time));
  item.dataset.at = Date.parse(time);
}

// My own messages are shown at once, paler until they come back from the server; if they do not, that is said.

function say(text) {
  const item = bubble({ name: myName, text, time: new Date().toISOString() }, true);
  item.classList.add("pending");
  pending.push(item);
  add(item, true);
  link.send({ type: "message", text });
}

function arrived(item, time) {
  const after = item.nextElementSibling;
  item.classList.remove("pending");
  stamp(item, time);
  if (after) $("log").append(item); // others were faster: everybody sees the server's order
  arrange(after);
  arrange(item);
}

function undelivered(item) {
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

function showPeople() {
  const sorted = [...people].sort(([a, nameA], [b, nameB]) => (b === me) - (a === me) || nameA.localeCompare(nameB));
  $("people").replaceChildren(
    ...sorted.map(([id, name]) => {
      const item = element("li", id === me ? "own" : "");
      item.style.setProperty("--hue", hue(name));
      item.append(face(name), element("bdi", "", name));
      return item;
    }),
  );
  $("people-count").textContent = people.size;
}

function showTyping(id, active) {
  clearTimeout(typists.get(id));
  typists.delete(id);
  if (active) typists.set(id, setTimeout(() => showTyping(id, false), TYPING_LASTS));
  const names = [...typists.keys()].map((each) => people.get(each));
  if (names.length === 0) $("typing").textContent = "";
  else if (names.length > 2) $("typing").textContent = "Several people are typing…";
  else $("typing").textContent = `${names.join(" and ")} ${names.length === 1 ? "is" : "are"} typing…`;
}

// What the server says

const handlers = {
  welcome({ you, members }) {
    me = you;
    people.clear();
    for (const { id, name } of members) people.set(id, name);
    showPeople();
    if (welcomed) note("Connected again. What was said in between is missing here.");
    welcomed = true;
  },
  joined({ id, name }) {
    people.set(id, name);
    showPeople();
    note(`${name} joined`);
  },
  left({ id, name }) {
    people.delete(id);
    showTyping(id, false);
    showPeople();
    note(`${name} left`);
  },
  message(message) {
    if (message.id === me && pending.length) {
      arrived(pending.shift(), message.time);
      return;
    }
    showTyping(message.id, false);
    add(bubble(message, false));
    if (document.hidden) showTitle(unread + 1);
  },
  typing({ id, active }) {
    if (id !== me) showTyping(id, active);
  },
  error({ text }) {
    $("problem").textContent = text;
    if (pending.length) undelivered(pending.shift());
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
  if (state === "waiting" || state === "ended") {
    pending.splice(0).forEach(undelivered);
    for (const id of [...typists.keys()]) showTyping(id, false);
  }
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

function enter(newRoom, name) {
  link?.close();
  room = newRoom;
  myName = name;
  welcomed = false;
  unread = 0;
  pending.length = 0;
  people.clear();
  $("log").replaceChildren($("empty"));
  $("empty").hidden = false;
  $("problem").textContent = "";
  $("title").textContent = room;
  $("door").hidden = true;
  $("chat").hidden = false;
  showTitle();
  showPeople();
  const url = new URL(`rooms/${encodeURIComponent(room)}?name=${encodeURIComponent(name)}`, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  link = new Link(url, { onstate: showState, onevent: (event) => handlers[event.type]?.(event) });
  $("text").focus();
}

function leave(reason = "") {
  link?.close();
  link = undefined;
  keep(thisTab, "name", "");
  for (const id of [...typists.keys()]) showTyping(id, false);
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
