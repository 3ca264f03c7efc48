// The page of the studio: uploads a video, then draws what the event stream says about its jobs.
// The server has all the state; a reload starts from the address and loses nothing.

const $ = (id) => document.getElementById(id);
const FINISHED = new Set(["succeeded", "failed", "cancelled", "gone"]);
const WORDS = {
  scheduled: "trying again soon", waiting: "waiting", ready: "waiting", running: "running", parked: "parked",
  succeeded: "done", failed: "failed", cancelled: "cancelled", gone: "no longer kept",
};
const LOOKS = { running: "running", succeeded: "done", failed: "failed", parked: "failed", cancelled: "stopped", gone: "stopped" };

const bytes = (count) => {
  const units = ["bytes", "kB", "MB", "GB"];
  let power = 0;
  for (; count >= 1000 && power < 3; power++) count /= 1000;
  return `${power ? count.toPrecision(3) : count} ${units[power]}`;
};
const clock = (seconds) => {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
};
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const took = (seconds) => (seconds < 60 ? `${seconds.toFixed(1)} s` : clock(seconds));

function setBar(bar, share, text) {
  const percent = share === null ? null : Math.round(share * 100);
  bar.classList.toggle("vague", percent === null);
  bar.firstElementChild.style.width = percent === null ? "" : `${percent}%`;
  if (percent === null) bar.removeAttribute("aria-valuenow");
  else bar.setAttribute("aria-valuenow", percent);
  if (text) bar.setAttribute("aria-valuetext", percent === null ? text : `${percent}%, ${text}`);
}

// For screen readers. What happens at once is said at once: a live region forgets what is overwritten.
const news = [];
function announce(text) {
  if (news.push(text) > 1) return;
  setTimeout(() => ($("announcer").textContent = news.splice(0).join(". ")), 400);
}

// --- a job's card

class Card {
  constructor(piece, entry) {
    this.piece = piece;
    this.entry = entry;
    this.job = { id: null, state: "ready", attempt: 0, crashes: 0, share: null, message: "" };
    this.element = $("card").content.cloneNode(true).firstElementChild;
    this.part = (name) => this.element.querySelector(name);
    this.element.dataset.kind = piece.kind;
    this.part("h2").textContent = piece.title;
    this.part(".bar").setAttribute("aria-label", `${piece.title}: progress`);
    this.part(".cancel").setAttribute("aria-label", `Cancel ${piece.title}`);
    this.part(".cancel").addEventListener("click", () => this.cancel());
    if (piece.kind === "sheet" || piece.width > piece.height) this.part(".stage").style.aspectRatio = `${piece.width} / ${piece.height}`;
    this.draw();
  }

  get finished() {
    return FINISHED.has(this.job.state);
  }

  get share() {
    return this.finished ? 1 : this.job.share ?? 0;
  }

  async cancel() {
    this.job.cancelling = true;
    this.draw();
    try {
      const answer = await fetch(`/jobs/${this.job.id}/cancel`, { method: "POST" });
      if (!answer.ok && answer.status !== 409) throw new Error(answer.statusText); // 409: it was faster than we
    } catch {
      this.job.cancelling = false;
      this.draw();
      announce(`${this.piece.title} could not be cancelled`);
    }
  }

  update(job) {
    const before = this.job;
    this.job = job;
    if (job.state !== before.state) announce(`${this.piece.title}: ${WORDS[job.state]}`);
    else if (job.crashes > before.crashes) announce(`${this.piece.title}: its worker died, running again`);
    this.draw();
  }

  draw() {
    const { job } = this;
    const running = job.state === "running";
    this.element.dataset.look = LOOKS[job.state] ?? "waiting";
    this.element.dataset.state = job.state;
    this.part(".state").textContent = job.cancelling && !this.finished ? "stopping" : WORDS[job.state];
    this.part(".note").textContent = this.note();
    this.part(".more").textContent = this.more();
    this.part(".why").textContent = this.why();
    const share = job.state === "succeeded" ? 1 : job.share ?? (running ? null : 0);
    setBar(this.part(".bar"), share, job.message);
    if (this.part(".word")) this.part(".word").textContent = this.word();
    const cancel = this.part(".cancel");
    if (this.finished && document.activeElement === cancel) this.part("h2").focus();
    cancel.hidden = this.finished || !job.id;
    cancel.disabled = Boolean(job.cancelling);
    if (job.state === "succeeded") this.show(job.result);
  }

  // What the stage says as long as there is nothing to be seen on it.
  word() {
    const { job, piece } = this;
    const percent = `${Math.round((job.share ?? 0) * 100)}%`;
    switch (job.state) {
      case "running": return job.share === null ? "" : percent;
      case "failed": return sentence(job.error ?? "");
      case "parked": return sentence(job.reason ?? "");
      case "cancelled": return job.started ? `Stopped at ${percent}` : "Never started";
      case "gone": return "";
      default: return piece.width ? `${piece.width} × ${piece.height}` : "";
    }
  }

  note() {
    const { job, piece } = this;
    const time = job.started && took((job.finished ?? 0) - job.started);
    switch (job.state) {
      case "succeeded": {
        if (piece.kind === "probe") return `read in ${time}`;
        return `${job.result.width} × ${job.result.height} · ${bytes(job.result.size)} · made in ${time}`;
      }
      case "failed": return `after ${job.attempt} ${job.attempt === 1 ? "attempt" : "attempts"}${time ? ` · ${time}` : ""}`;
      case "cancelled": return job.started ? `after ${time}` : "";
      case "running": return [`attempt ${job.attempt}`, clock(now() - job.started), job.message].filter(Boolean).join(" · ");
      default: return "";
    }
  }

  more() {
    if (this.job.state !== "succeeded" || this.piece.kind !== "rendition") return "";
    return `${Math.max(1, Math.round((100 * this.job.result.size) / this.entry.size))} % of the original’s size`;
  }

  why() {
    const { job } = this;
    if (job.state === "failed") return this.piece.kind === "probe" ? job.error ?? "" : "";
    if (job.state === "cancelled" || job.state === "parked") return "";
    if (this.finished && job.crashes) return `survived ${job.crashes === 1 ? "a crash" : `${job.crashes} crashes`} of its worker`;
    if (job.crashes) return `its worker died; run again (crash ${job.crashes})`;
    return job.error && !this.finished ? `attempt failed: ${job.error}` : "";
  }

  show(result) {
    if (this.shown) return;
    this.shown = true;
    const url = `/videos/${this.entry.id}/files/${result.file}`;
    if (this.piece.kind === "probe") this.list(result);
    else if (this.piece.kind === "rendition") {
      const video = document.createElement("video");
      Object.assign(video, { controls: true, preload: "metadata", playsInline: true, src: url });
      video.setAttribute("aria-label", `${this.entry.name}, ${this.piece.title}`);
      this.part(".stage").replaceChildren(video);
    } else {
      const image = document.createElement("img");
      Object.assign(image, { src: url, width: result.width, height: result.height });
      image.alt = `Contact sheet: twelve frames of ${this.entry.name}, from start to end`;
      this.part(".stage").replaceChildren(image);
    }
  }

  list(facts) {
    const rows = {
      Picture: `${facts.width} × ${facts.height}`,
      Length: `${facts.duration.toFixed(2)} s`,
      Frames: `${facts.frames}${facts.rate ? ` at ${facts.rate}/s` : ""}`,
      Video: facts.codec,
      Audio: facts.audio ?? "none",
      Size: bytes(facts.size),
    };
    for (const [name, value] of Object.entries(rows)) {
      const term = document.createElement("dt");
      const text = document.createElement("dd");
      term.textContent = name;
      text.textContent = value;
      this.part(".list").append(term, text);
    }
  }

  log(line) {
    this.part(".log").textContent = line;
    this.part(".log").title = line;
  }
}

// --- a video

const cards = new Map();
let skew = 0; // the server's clock minus ours, in seconds
const now = () => Date.now() / 1000 + skew;

async function open(id) {
  const answer = await fetch(`/videos/${id}`);
  skew = (Date.parse(answer.headers.get("Date")) - Date.now()) / 1000 || 0;
  if (Math.abs(skew) < 2) skew = 0; // the header counts whole seconds
  if (!answer.ok) return reveal("missing");
  show(await answer.json());
}

function show(entry) {
  document.title = `${entry.name} · Studio`;
  $("video-title").textContent = entry.name;
  const length = entry.duration && `${entry.duration.toFixed(1)} s`;
  $("facts").textContent = [`${entry.width} × ${entry.height}`, length, bytes(entry.size)].filter(Boolean).join(" · ");
  for (const piece of entry.pieces) {
    const card = new Card(piece, entry);
    cards.set(piece.title, card);
    $("cards").append(card.element);
  }
  $("cancel-all").addEventListener("click", async () => {
    for (const card of cards.values()) {
      if (!card.finished) card.job.cancelling = true;
      card.draw();
    }
    await fetch(`/videos/${entry.id}/cancel`, { method: "POST" });
  });
  reveal("video");
  total();
  follow(entry.id, "");
  setInterval(() => cards.forEach((card) => card.job.state === "running" && card.draw()), 1000);
}

function follow(id, after) {
  const stream = new EventSource(`/videos/${id}/events?after=${after}`);
  const seen = (event) => {
    after = event.lastEventId;
    return JSON.parse(event.data);
  };
  stream.onopen = () => ($("connection").hidden = true);
  stream.addEventListener("job", (event) => {
    const job = seen(event);
    cards.get(job.piece)?.update(job);
    total();
  });
  stream.addEventListener("log", (event) => {
    const { piece, line } = seen(event);
    cards.get(piece)?.log(line);
  });
  stream.addEventListener("end", () => stream.close());
  stream.onerror = () => {
    $("connection").hidden = false;
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => follow(id, after), 2000);
  };
}

function total() {
  const all = [...cards.values()];
  const count = (state) => all.filter((card) => card.job.state === state).length;
  const over = all.filter((card) => card.finished).length;
  setBar($("total-bar"), all.reduce((sum, card) => sum + card.share, 0) / all.length);
  const parts = [`${over} of ${all.length} jobs finished`];
  for (const state of ["running", "failed", "cancelled"]) if (count(state)) parts.push(`${count(state)} ${state}`);
  if (over < all.length && !count("running")) parts.push("waiting for a worker");
  const look = count("failed") ? "failed" : count("cancelled") ? "stopped" : "done";
  document.querySelector(".summary").dataset.look = over === all.length ? look : "running";
  $("total-note").textContent = parts.join(" · ");
  $("cancel-all").hidden = over === all.length;
  $("cancel-all").disabled = all.every((card) => card.finished || card.job.cancelling);
}

// --- the upload

let limit = Infinity;

function upload(blob, name) {
  if (blob.size > limit) return complain(`“${name}” is too large: ${bytes(blob.size)}, and at most ${bytes(limit)} can be uploaded`);
  $("problem").hidden = true;
  busy(true, name);
  const request = new XMLHttpRequest();
  request.open("POST", `/videos?name=${encodeURIComponent(name.slice(0, 200))}`);
  request.upload.onprogress = ({ loaded, total }) => {
    setBar($("upload-bar"), loaded / total);
    $("upload-note").textContent = loaded < total ? `${bytes(loaded)} of ${bytes(total)}` : "Looking at it…";
  };
  request.onload = () => {
    busy(false);
    if (request.status !== 202) return complain(reason(request));
    const entry = JSON.parse(request.response);
    history.pushState(null, "", `/v/${entry.id}`);
    show(entry);
    $("video-title").focus();
  };
  request.onerror = () => {
    busy(false);
    complain("The upload did not get through. Is the studio still running?");
  };
  request.onabort = () => busy(false);
  $("upload-cancel").onclick = () => request.abort();
  request.send(blob);
}

function reason(request) {
  try {
    const { detail } = JSON.parse(request.response);
    if (typeof detail === "string") return sentence(detail);
  } catch { /* no JSON: the status has to do */ }
  return `The upload was refused (${request.status} ${request.statusText}).`;
}

function busy(yes, name = "") {
  document.querySelector(".choose").hidden = yes;
  document.querySelector(".uploading").hidden = !yes;
  $("upload-name").textContent = yes ? `Uploading ${name}` : "";
  $("upload-note").textContent = "";
  setBar($("upload-bar"), 0);
}

function complain(text) {
  $("problem").textContent = text;
  $("problem").hidden = false;
  $("file").value = "";
}

async function useSample() {
  $("sample").disabled = true;
  try {
    upload(await (await fetch("/sample.mp4")).blob(), "Big Buck Bunny.mp4");
  } catch {
    complain("The sample clip could not be loaded. Is the studio still running?");
  } finally {
    $("sample").disabled = false;
  }
}

function listen() {
  const free = () => !$("start").hidden && document.querySelector(".uploading").hidden;
  $("file").addEventListener("change", () => $("file").files[0] && upload($("file").files[0], $("file").files[0].name));
  $("sample").addEventListener("click", useSample);
  addEventListener("dragover", (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", free());
  });
  addEventListener("dragleave", (event) => event.relatedTarget ?? $("drop").classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    const file = event.dataTransfer.files[0];
    if (file && free()) upload(file, file.name);
  });
  addEventListener("popstate", () => location.reload());
}

function reveal(section) {
  for (const id of ["start", "video", "missing"]) $(id).hidden = id !== section;
}

listen();
const shown = location.pathname.match(/^\/v\/([0-9a-f]+)$/);
if (shown) open(shown[1]);
else {
  reveal("start");
  fetch("/limits").then((answer) => answer.json()).then(({ upload_bytes }) => {
    limit = upload_bytes;
    $("limit-size").textContent = `, up to ${bytes(limit)}`;
  }).catch(() => {}); // the server will say it itself
}
