/** Doing things: say what became of it, offer the way back, show the change at once. */
import { signal } from "@preact/signals";
import { Problem } from "./api";
import { refresh } from "./live";

export interface Toast {
  id: number;
  text: string;
  kind: "good" | "bad";
  undo?: () => void;
  to?: string;
}
export const toasts = signal<Toast[]>([]);
let last = 0;

export const dismiss = (id: number): void => {
  toasts.value = toasts.value.filter((one) => one.id !== id);
};

/** A message that goes by itself: what went wrong stays longer, and so does what can be undone. */
export function say(text: string, more: Partial<Omit<Toast, "id" | "text">> = {}): void {
  const toast: Toast = { id: ++last, text, kind: "good", ...more };
  toasts.value = [...toasts.value.slice(-3), toast];
  setTimeout(() => dismiss(toast.id), toast.kind === "bad" ? 12_000 : toast.undo ? 9_000 : 5_000);
}

/** Why something did not work, in words that say what to do. */
export function reason(error: unknown): string {
  if (!(error instanceof Problem)) return String(error);
  if (error.status === 403) return "Your role does not allow this.";
  if (error.status === 401) return "You are signed out. Reload the page to sign in.";
  return error.detail || error.title;
}

/** Run an action and say how it ended. Answers its value, or null when it failed. */
export async function perform<T>(
  what: () => Promise<T>,
  done: string | ((value: T) => string),
  undo?: () => Promise<unknown>,
): Promise<T | null> {
  try {
    const value = await what();
    const back =
      undo &&
      ((): void => {
        void perform(undo, "Undone");
      });
    say(typeof done === "string" ? done : done(value), { undo: back });
    refresh();
    return value;
  } catch (error) {
    say(reason(error), { kind: "bad" });
    return null;
  }
}

export interface Question {
  title: string;
  text: string;
  action: string;
  danger?: boolean;
  typed?: string;
  run: () => void;
}
/** The question that waits for an answer, if any. `typed`: what must be typed to mean it. */
export const question = signal<Question | null>(null);
export const confirm = (one: Question): void => {
  question.value = one;
};
