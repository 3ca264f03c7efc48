/** One stream for the whole page. It stops when the person pauses it or looks elsewhere, and polls when no stream can be had. */
import { batch, computed, effect, signal } from "@preact/signals";
import { openStream } from "./api";
import type { Tick } from "./types";

const POLL = 5_000; // between two looks without a stream
const AGAIN = 30_000; // until a stream is tried again

export const paused = signal(false);
const hidden = signal(document.hidden);
document.addEventListener("visibilitychange", () => {
  hidden.value = document.hidden;
});
export const flowing = computed(() => !paused.value && !hidden.value);

/** "still": nothing on this page changes by itself. */
export type Connection = "connecting" | "live" | "polling" | "lost" | "still";
export const connection = signal<Connection>("connecting");
export const openFailures = signal<number | null>(null);

/** The time that relative times are told from. Stands still with everything else. */
export const now = signal(Date.now());
let skew = 0;
setInterval(() => {
  if (flowing.value) now.value = Date.now() + skew;
}, 1_000);

/** The server's time; a clock that is a second off is not corrected, the way of the answer is not known better. */
function correct(serverTime: string): void {
  const off = Date.parse(serverTime) - Date.now();
  if (Number.isFinite(off)) skew = Math.abs(off) > 2_000 ? off : 0;
}

type Take = (value: unknown) => void;
const topics = new Map<string, Set<Take>>();
const wanted = signal("");
const announce = (): void => {
  queueMicrotask(() => {
    wanted.value = [...topics.keys()].sort().join("\n");
  });
};

/** Hear of a topic until the answered function is called. */
export function subscribe(topic: string, take: Take): () => void {
  const takers = topics.get(topic) ?? new Set();
  topics.set(topic, takers.add(take));
  announce();
  return () => {
    takers.delete(take);
    if (!takers.size) topics.delete(topic);
    announce();
  };
}

/** What is on screen, each with the way to ask for it again. */
export const onScreen = new Set<() => void>();

/** Ask for everything on screen again: after an action, whose effect nobody wants to wait a second for. */
export const refresh = (): void => onScreen.forEach((again) => again());

// Ticks that come within one frame are applied together, the latest value of each topic only.
let coming: Tick | null = null;
function hear(tick: Tick): void {
  if (!coming) requestAnimationFrame(apply);
  coming = { ...coming, ...tick, topics: { ...coming?.topics, ...tick.topics } };
}

function apply(): void {
  const tick = coming;
  coming = null;
  if (!tick || !flowing.value) return;
  batch(() => {
    if (tick.now) correct(tick.now);
    if (tick.open_failures !== undefined) openFailures.value = tick.open_failures;
    for (const [topic, value] of Object.entries(tick.topics)) topics.get(topic)?.forEach((take) => take(value));
  });
}

let stopped = false; // whether the stream was stopped on purpose since the last look, so that what was missed is asked for

effect(() => {
  const names = wanted.value;
  if (!flowing.value || !names) {
    stopped = stopped || !flowing.value;
    if (!names) connection.value = "still";
    return undefined;
  }
  if (stopped) refresh();
  stopped = false;
  let close = (): void => undefined;
  let timer = 0;
  let failures = 0;
  let gone = false;
  const poll = (): void => {
    connection.value = "polling";
    timer = window.setInterval(refresh, POLL);
    window.setTimeout(() => {
      if (!gone) {
        clearInterval(timer);
        open();
      }
    }, AGAIN);
  };
  const open = (): void => {
    failures = 0;
    close = openStream(names.split("\n"), {
      message: hear,
      open: () => {
        failures = 0;
        connection.value = "live";
      },
      lost: (forGood) => {
        failures++;
        connection.value = "lost";
        if (forGood || failures >= 3) {
          close();
          if (!gone) poll();
        }
      },
    });
  };
  open();
  return () => {
    gone = true;
    close();
    clearInterval(timer);
  };
});
