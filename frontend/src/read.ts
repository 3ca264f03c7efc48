/** A read as a hook: what is known now, kept up to date by the stream. */
import { useEffect, useRef, useState } from "preact/hooks";
import { get, Problem, type Read } from "./api";
import { onScreen, subscribe } from "./live";

export interface Known<T> {
  value: T | null;
  problem: Problem | null;
  stale: boolean;
  again: () => void;
}

// What was seen last of each read, so that a step back shows it at once while it is asked for anew.
const seen = new Map<string, unknown>();
const KEPT = 40;

function remember(name: string, value: unknown): void {
  seen.delete(name);
  seen.set(name, value);
  if (seen.size > KEPT) seen.delete(seen.keys().next().value as string);
}

/** The value of `read`, null until it is there. `stale`: the value is of another read, its own is on the way. */
export function useRead<T>(read: Read<T> | null, options: { live?: boolean } = {}): Known<T> {
  const live = options.live ?? true;
  const [state, setState] = useState<{ name: string; value: T | null; problem: Problem | null }>({
    name: "",
    value: null,
    problem: null,
  });
  const ask = useRef<() => void>(() => undefined);
  const name = read?.name ?? "";
  useEffect(() => {
    if (!name) return undefined;
    let abort = new AbortController();
    const take = (value: unknown): void => {
      remember(name, value);
      setState({ name, value: value as T, problem: null });
    };
    const refetch = (): void => {
      abort.abort();
      abort = new AbortController();
      const { signal } = abort;
      get<T>({ name }, signal).then(
        (value) => {
          if (!signal.aborted) take(value);
        },
        (error: unknown) => {
          if (signal.aborted) return;
          const problem = error instanceof Problem ? error : new Problem(0, "The page made a mistake", String(error));
          setState((before) => ({ name, value: before.name === name ? before.value : null, problem }));
        },
      );
    };
    ask.current = refetch;
    if (seen.has(name)) setState({ name, value: seen.get(name) as T, problem: null });
    refetch();
    onScreen.add(refetch);
    const leave = live ? subscribe(name, take) : () => undefined;
    return () => {
      abort.abort();
      onScreen.delete(refetch);
      leave();
    };
  }, [name, live]);
  const stale = state.name !== name;
  return { value: state.value, problem: stale ? null : state.problem, stale, again: () => ask.current() };
}
