// Orders pictures, and shows each as it is painted: previews come over its job's event stream, which goes on where it was.
// The page remembers its prompts, each with a key. An order that is repeated with its key is answered with the same job: so the page
// orders again whatever happens, a reload, a lost connection, a server that restarts.

const $ = (id) => document.getElementById(id);
const IDEAS = ["A lake at dawn", "A lake at night", "A red kite", "Moss", "A crowd"];
const KEPT = 24;
const STREAMS = 5; // a browser opens six connections to a host, and orders and pictures need one

let mine = JSON.parse(localStorage.getItem("pictures") ?? "[]");

function remember(change) {
  mine = change(mine).slice(0, KEPT);
  localStorage.setItem("pictures", JSON.stringify(mine));
}

// --- one picture

class Card {
  constructor(text) {
    this.text = text;
    this.together = 1;
    this.element = $("card").content.cloneNode(true).firstElementChild;
    this.part = (name) => this.element.querySelector(name);
    this.part(".prompt").textContent = this.part(".prompt").title = text;
    this.part("img").alt = text;
    this.say("waiting", "Waiting");
  }

  say(look, words) {
    this.element.dataset.look = look;
    this.part(".state").textContent = words;
    if (look === "done" || look === "failed") announce(`${this.text}: ${words}`);
  }

  show(source) {
    this.part("img").src = source;
    this.part("img").hidden = false;
  }

  preview({ previews }) {
    this.together = Object.keys(previews).length;
    this.show(`data:image/png;base64,${previews[this.text]}`);
  }

  progress({ current, total }) {
    this.say("painting", `Step ${current} of ${total}`);
    this.part(".bar").style.width = `${(100 * current) / total}%`;
  }

  end({ id, state, error, reason }) {
    if (state !== "succeeded") return this.say("failed", error?.message ?? reason ?? `It was ${state}`);
    this.show(`/pictures/${id}`);
    this.say("done", this.together > 1 ? `Painted with ${this.together - 1} more` : "Painted");
  }
}

// --- ordering and following

const lost = new Set();
const queue = [];
let open = 0;

async function order(card, key, after = 0) {
  const answer = await fetch("/pictures", {
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": key },
    body: JSON.stringify({ text: card.text }),
  }).catch(() => null);
  const there = answer !== null && answer.status < 500;
  connected(key, there);
  if (!there) return setTimeout(() => order(card, key, after), 2000);
  if (!answer.ok) return refuse(card, key, `The prompt was refused (${answer.status} ${answer.statusText}).`);
  const { id, state } = await answer.json();
  if (state === "succeeded") card.end({ id, state });
  else follow(card, key, id, after);
}

function follow(card, key, id, after) {
  if (open === STREAMS) return queue.push(() => follow(card, key, id, after));
  open++;
  const stream = new EventSource(`/jobs/${id}/events?after=${after}`);
  const close = () => {
    stream.close();
    open--;
    queue.shift()?.();
  };
  const on = (kind, then) =>
    stream.addEventListener(kind, (event) => {
      after = event.lastEventId || after;
      then(JSON.parse(event.data));
    });
  on("chunk", (data) => card.preview(data));
  on("progress", (data) => card.progress(data));
  on("end", (data) => {
    close();
    card.end(data);
  });
  stream.onopen = () => connected(key, true);
  stream.onerror = () => {
    connected(key, false); // the browser comes again by itself, unless it was refused
    if (stream.readyState !== EventSource.CLOSED) return;
    close();
    setTimeout(() => order(card, key, after), 2000);
  };
}

function connected(key, yes) {
  yes ? lost.delete(key) : lost.add(key);
  $("connection").hidden = lost.size === 0;
}

function refuse(card, key, why) {
  remember((all) => all.filter((one) => one.key !== key));
  card.element.remove();
  $("problem").textContent = why;
  $("problem").hidden = false;
  $("prompt").value ||= card.text;
}

function paint(text) {
  const key = `${Date.now()}-${Math.random()}`;
  const card = new Card(text);
  $("problem").hidden = true;
  $("pictures").prepend(card.element);
  remember((all) => [{ key, text }, ...all]);
  order(card, key);
}

// For screen readers. What happens at once is said at once: a live region forgets what is overwritten.
const news = [];
function announce(text) {
  if (news.push(text) > 1) return;
  setTimeout(() => ($("announcer").textContent = news.splice(0).join(". ")), 400);
}

function button(text, orders) {
  const made = document.createElement("button");
  Object.assign(made, { type: "button", className: "idea", textContent: text, onclick: () => orders.forEach(paint) });
  return made;
}

document.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("prompt").value.trim();
  event.target.reset();
  if (text) paint(text);
});
document.querySelector(".ideas").append(...IDEAS.map((text) => button(text, [text])), button("All at once", IDEAS));
for (const { key, text } of mine) {
  const card = new Card(text);
  $("pictures").append(card.element);
  order(card, key);
}
