/** Ctrl K: go to anything by some of its letters, and the few actions that belong to no page. */
import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { get, reads } from "../api";
import { paused } from "../live";
import { go, jobPath, queuePath, taskPath, workerPath } from "../router";
import { nextTheme, switchZone } from "../settings";
import { score } from "../score";
import { Dialog } from "./Dialog";
import { helpOpen } from "./Help";
import { Icon, type IconName } from "./icons";
import { PAGES, range } from "./Shell";

export const paletteOpen = signal(false);
interface Entry {
  label: string;
  kind: string;
  icon: IconName;
  run: () => void;
}

const FIXED: readonly Entry[] = [
  ...PAGES.map((page): Entry => ({ label: page.name, kind: page.key, icon: page.icon, run: () => go(page.to) })),
  {
    label: "Failed in the last 24 hours",
    kind: "jobs",
    icon: "failures",
    run: () => go("/jobs", { q: "state:failed since:24h" }),
  },
  { label: "Running now", kind: "jobs", icon: "jobs", run: () => go("/jobs", { q: "state:running" }) },
  {
    label: "Pause or resume live updates",
    kind: "p",
    icon: "pause",
    run: () => {
      paused.value = !paused.value;
    },
  },
  { label: "Switch theme", kind: "view", icon: "moon", run: nextTheme },
  { label: "Switch between local time and UTC", kind: "view", icon: "globe", run: switchZone },
  {
    label: "Keyboard shortcuts",
    kind: "?",
    icon: "help",
    run: () => {
      helpOpen.value = true;
    },
  },
];

function found(entries: readonly Entry[], typed: string): Entry[] {
  const text = typed.trim();
  if (!text) return entries.slice(0, PAGES.length + 6);
  const extra: Entry[] = [];
  if (/^[0-9a-f-]{8,36}$/i.test(text)) {
    const full = text.length === 36;
    extra.push({
      label: full ? `Job ${text}` : `Jobs with the id ${text}`,
      kind: "job",
      icon: "jobs",
      run: () => (full ? go(jobPath(text)) : go("/jobs", { q: `id:${text}` })),
    });
  }
  const ranked = entries
    .map((entry) => [score(entry.label, text), entry] as const)
    .filter(([points]) => points > 0)
    .sort((a, b) => b[0] - a[0])
    .slice(0, 10)
    .map(([, entry]) => entry);
  return [
    ...extra,
    ...ranked,
    { label: `Jobs that match “${text}”`, kind: "search", icon: "search", run: () => go("/jobs", { q: text }) },
  ];
}

/** Names of queues, tasks and workers, asked for when the palette opens; without them the pages still work. */
async function named(): Promise<Entry[]> {
  const [queues, tasks, workers] = await Promise.allSettled([
    get(reads.queues(range())),
    get(reads.tasks(range())),
    get(reads.workers()),
  ]);
  const entries: Entry[] = [];
  if (queues.status === "fulfilled")
    entries.push(
      ...queues.value.queues.map(({ name }): Entry => ({
        label: name,
        kind: "queue",
        icon: "queues",
        run: () => go(queuePath(name)),
      })),
    );
  if (tasks.status === "fulfilled")
    entries.push(
      ...tasks.value.tasks.map(({ name }): Entry => ({
        label: name,
        kind: "task",
        icon: "tasks",
        run: () => go(taskPath(name)),
      })),
    );
  if (workers.status === "fulfilled")
    entries.push(
      ...workers.value.workers.map(({ id, host }): Entry => ({
        label: `${host} ${id}`,
        kind: "worker",
        icon: "workers",
        run: () => go(workerPath(id)),
      })),
    );
  return entries;
}

export function Palette(): JSX.Element | null {
  return paletteOpen.value ? <Open /> : null;
}

function Open(): JSX.Element {
  const [typed, setTyped] = useState("");
  const [at, setAt] = useState(0);
  const [more, setMore] = useState<Entry[]>([]);
  useEffect(() => {
    void named().then(setMore);
  }, []);
  const close = (): void => {
    paletteOpen.value = false;
  };
  const shown = found([...FIXED, ...more], typed);
  const current = Math.min(at, shown.length - 1);
  const take = (entry: Entry): void => {
    close();
    entry.run();
  };
  const press = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      setAt((current + step + shown.length) % shown.length);
    }
    if (event.key === "Enter" && shown[current]) {
      event.preventDefault();
      take(shown[current]);
    }
  };
  useEffect(() => {
    document.getElementById(`entry-${current}`)?.scrollIntoView({ block: "nearest" });
  }, [current]);
  return (
    <Dialog title="Go to" close={close} wide>
      <div class="palette">
        <input
          type="text"
          role="combobox"
          aria-expanded="true"
          aria-controls="entries"
          aria-activedescendant={`entry-${current}`}
          aria-label="Go to"
          placeholder="A page, queue, task, worker or job id"
          value={typed}
          onInput={(event) => {
            setTyped(event.currentTarget.value);
            setAt(0);
          }}
          onKeyDown={press}
          autofocus
          autocomplete="off"
          spellcheck={false}
        />
        <ul id="entries" role="listbox" aria-label="Results">
          {shown.map((entry, index) => (
            <li
              key={`${entry.kind} ${entry.label}`}
              id={`entry-${index}`}
              role="option"
              aria-selected={index === current}
              onClick={() => take(entry)}
              onMouseMove={() => {
                if (index !== current) setAt(index);
              }}
            >
              <Icon name={entry.icon} />
              <span>{entry.label}</span>
              <kbd>{entry.kind}</kbd>
            </li>
          ))}
        </ul>
      </div>
    </Dialog>
  );
}
