// Shows what the server sends, and the login again when the session has ended.

const UNAUTHORIZED = 3000;
const FIRST_PAUSE = 500; // milliseconds
const LONGEST_PAUSE = 10_000;

const state = document.getElementById("state");
let pause = FIRST_PAUSE;

function showLogin() {
  location.replace("./?ended");
}

function open() {
  const address = new URL("live", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  // The browser sends the cookie along by itself.
  const socket = new WebSocket(address);

  socket.addEventListener("open", () => {
    state.textContent = "Connected";
    pause = FIRST_PAUSE;
  });

  socket.addEventListener("message", ({ data }) => {
    for (const [name, value] of Object.entries(JSON.parse(data))) {
      document.querySelector(`[data-number="${name}"]`).textContent = value;
    }
  });

  socket.addEventListener("close", async ({ code }) => {
    if (code === UNAUTHORIZED) {
      showLogin();
      return;
    }
    state.textContent = "Reconnecting";
    // A page is not told why a handshake was refused, but it can ask over HTTP.
    const answer = await fetch("me").catch(() => null);
    if (answer?.status === 401) {
      showLogin();
      return;
    }
    setTimeout(open, pause * (0.5 + Math.random()));
    pause = Math.min(pause * 2, LONGEST_PAUSE);
  });
}

document.getElementById("stay").addEventListener("click", async () => {
  const answer = await fetch("stay", { method: "POST" });
  if (answer.status === 401) showLogin();
});

open();
