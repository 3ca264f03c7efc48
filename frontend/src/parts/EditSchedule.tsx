/** A schedule's fields, to be changed. Only what is different is sent: the rest goes on following the code. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { confirm, perform } from "../actions";
import { act } from "../api";
import { length, seconds } from "../format";
import { parseJson, printJson } from "../json";
import { may } from "../settings";
import { ON_MISSED, OVERLAP, type ScheduleChange, type ScheduleRow, type When } from "../types";
import { Button } from "./basic";
import { Dialog } from "./Dialog";

const ZONES = Intl.supportedValuesOf?.("timeZone") ?? [];
const WORDS: Record<string, string> = {
  skip: "leave it out",
  once: "make up for the latest",
  all: "make up for each",
  allow: "run both",
  queue: "wait for the earlier one",
  cancel_other: "cancel the earlier one",
};

/** The texts with which the form begins. */
const textsOf = (row: ScheduleRow): Record<string, string> => ({
  kind: row.when.kind,
  line: row.when.kind === "cron" ? row.when.line : "0 9 * * mon-fri",
  tz: row.when.kind === "cron" ? row.when.tz : "UTC",
  every: row.when.kind === "every" ? length(row.when.seconds).replace(/ /g, "") : "15m",
  on_missed: row.on_missed,
  window: length(row.window).replace(/ /g, ""),
  overlap: row.overlap,
  jitter: length(row.jitter).replace(/ /g, ""),
  args: printJson(row.arguments.value),
});

export function EditSchedule({ row, close }: { row: ScheduleRow; close: () => void }): JSX.Element {
  const [first] = useState(() => textsOf(row));
  const [texts, setTexts] = useState(first);
  const set = (name: string) => (event: { currentTarget: { value: string } }) =>
    setTexts({ ...texts, [name]: event.currentTarget.value });
  const field = (name: string, title: string): JSX.Element => (
    <label class="field">
      <span>{title}</span>
      <input value={texts[name]} onInput={set(name)} autocomplete="off" spellcheck={false} />
    </label>
  );
  const choice = (name: string, title: string, of: readonly string[]): JSX.Element => (
    <label class="field">
      <span>{title}</span>
      <select value={texts[name]} onChange={set(name)}>
        {of.map((one) => (
          <option key={one} value={one}>
            {WORDS[one] ?? one}
          </option>
        ))}
      </select>
    </label>
  );
  let wrong = "";
  let args: unknown;
  try {
    args = parseJson(texts.args);
  } catch (error) {
    wrong = (error as Error).message;
  }
  const step = Number(texts.every) || seconds(texts.every);
  if (texts.kind === "every" && !step) wrong = "a length of time: 15m, 2h, 1d";
  const submit = (event: Event): void => {
    event.preventDefault();
    const differs = (...names: string[]): boolean => names.some((name) => texts[name] !== first[name]);
    const when: When =
      texts.kind === "cron" ? { kind: "cron", line: texts.line, tz: texts.tz } : { kind: "every", seconds: step ?? 0 };
    const change: ScheduleChange = {
      ...(differs("kind", "line", "tz", "every") ? { when } : {}),
      ...(differs("on_missed") ? { on_missed: texts.on_missed as ScheduleRow["on_missed"] } : {}),
      ...(differs("overlap") ? { overlap: texts.overlap as ScheduleRow["overlap"] } : {}),
      ...(differs("window") ? { window: texts.window } : {}),
      ...(differs("jitter") ? { jitter: texts.jitter } : {}),
      ...(differs("args") ? { args } : {}),
    };
    void perform(() => act.schedule(row.name, "edit", change), `${row.name} is changed`).then((done) => {
      if (done) close();
    });
  };
  const remove = (): void => {
    close();
    confirm({
      title: "Remove this schedule?",
      action: "Remove",
      danger: true,
      text: "It fires no more. The jobs that it made stay.",
      run: () => void perform(() => act.schedule(row.name, "remove"), `${row.name} is removed`),
    });
  };
  return (
    <Dialog title={`Edit ${row.name}`} close={close} wide>
      <form onSubmit={submit}>
        {row.origin === "code" && (
          <p class="faint">It is in the code. What you change here stays so; the rest follows the code.</p>
        )}
        <div class="fields three">
          {choice("kind", "When", ["cron", "every"])}
          {texts.kind === "cron" ? field("line", "Cron line") : field("every", "Length")}
          {texts.kind === "cron" && (
            <label class="field">
              <span>Time zone</span>
              <input value={texts.tz} onInput={set("tz")} list="zones" autocomplete="off" spellcheck={false} />
              <datalist id="zones">
                {ZONES.map((zone) => (
                  <option key={zone} value={zone} />
                ))}
              </datalist>
            </label>
          )}
        </div>
        <div class="fields three">
          {choice("on_missed", "When it was missed", ON_MISSED)}
          {field("window", "Within")}
          {field("jitter", "Later by up to")}
        </div>
        {choice("overlap", "When the earlier job is unfinished", OVERLAP)}
        {!row.arguments.hidden && (
          <label class="field">
            <span>Arguments</span>
            <textarea
              class="mono"
              rows={Math.min(10, texts.args.split("\n").length + 1)}
              value={texts.args}
              spellcheck={false}
              aria-invalid={Boolean(wrong)}
              onInput={set("args")}
            />
          </label>
        )}
        <span class="wrong" aria-live="polite">
          {wrong}
        </span>
        <div class="dialog-end">
          {may("admin") && row.origin === "run time" && (
            <Button icon="trash" kind="quiet" onClick={remove}>
              Remove
            </Button>
          )}
          <Button onClick={close}>Not now</Button>
          <button type="submit" class="button main" disabled={Boolean(wrong)}>
            Save
          </button>
        </div>
      </form>
    </Dialog>
  );
}
