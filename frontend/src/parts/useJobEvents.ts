/** The stream of one job: log lines and progress as they come; a change of state asks for the job anew. */
import { useEffect, useRef, useState } from "preact/hooks";
import { openEvents } from "../api";
import { connection, flowing } from "../live";
import { printJson } from "../json";
import type { JobEvent, LogLine, Progress } from "../types";

const KEPT = 100_000; // lines; the oldest go first
const PACE = 120; // ms between two drawings: a task may log hundreds of lines a second, an eye reads none of them

interface Heard {
  lines: readonly LogLine[];
  chunks: readonly string[];
  progress: Progress | null;
  state: "connecting" | "live" | "lost" | "ended";
}
const NOTHING: Heard = { lines: [], chunks: [], progress: null, state: "connecting" };

/** `over`: the job has finished, and so has its stream; one that is made ready again is listened to again. */
export function useJobEvents(id: string, changed: () => void, ready: boolean, over: boolean): Heard {
  const [heard, setHeard] = useState(NOTHING);
  const open = flowing.value;
  const [life, setLife] = useState(0);
  const wasOver = useRef(over);
  useEffect(() => {
    if (wasOver.current && !over) setLife((n) => n + 1);
    wasOver.current = over;
  }, [over]);
  useEffect(() => {
    if (!ready || !open) return undefined;
    let coming: JobEvent[] = [];
    let timer = 0;
    let gone = false;
    let seenState = false;
    // The stream begins at the beginning each time; what was shown is replaced with the first of it, not doubled.
    let fresh = true;
    const apply = (): void => {
      timer = 0;
      if (gone) return;
      const events = coming;
      coming = [];
      const begin = fresh;
      fresh = false;
      setHeard((before) => {
        const from = begin ? NOTHING : before;
        const lines = events.flatMap((one) => (one.event === "log" ? [one.data] : []));
        const chunks = events.flatMap((one) =>
          one.event === "chunk" ? [typeof one.data === "string" ? one.data : printJson(one.data, 0)] : [],
        );
        const progress = events.reduce<Progress | null>(
          (last, one) => (one.event === "progress" ? one.data : last),
          from.progress,
        );
        const ended = events.some((one) => one.event === "end");
        return {
          lines: lines.length ? [...from.lines, ...lines].slice(-KEPT) : from.lines,
          chunks: chunks.length ? [...from.chunks, ...chunks] : from.chunks,
          progress,
          state: ended ? "ended" : "live",
        };
      });
      // The first state only says what the read has just told.
      if (events.some((one) => one.event === "end")) connection.value = "still";
      if (events.some((one) => one.event === "end" || (one.event === "state" && seenState))) changed();
      seenState = seenState || events.some((one) => one.event === "state");
    };
    const close = openEvents(id, {
      message: (event) => {
        coming.push(event);
        timer ||= window.setTimeout(() => requestAnimationFrame(apply), PACE);
      },
      open: () => {
        connection.value = "live";
        setHeard((before) => ({ ...before, state: "live" }));
      },
      lost: () => {
        connection.value = "lost";
        setHeard((before) => (before.state === "ended" ? before : { ...before, state: "lost" }));
      },
    });
    return () => {
      gone = true;
      close();
      clearTimeout(timer);
    };
  }, [id, ready, open, life]);
  return heard;
}
