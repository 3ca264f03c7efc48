/** What is around every page: the rail, the bar above, and on a narrow screen the bar below with its drawer. */
import { signal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useKeys } from "../keys";
import { connection, flowing, openFailures, paused } from "../live";
import { Link, param, route, setQuery } from "../router";
import { boot, nextTheme, switchZone, theme, zone, zoneKind } from "../settings";
import { Button } from "./basic";
import { Icon, Mark, type IconName } from "./icons";
import { helpOpen } from "./Help";
import { paletteOpen } from "./Palette";

export const PAGES: readonly { to: string; name: string; icon: IconName; key: string }[] = [
  { to: "/", name: "Overview", icon: "overview", key: "g o" },
  { to: "/jobs", name: "Jobs", icon: "jobs", key: "g j" },
  { to: "/failures", name: "Failures", icon: "failures", key: "g f" },
  { to: "/queues", name: "Queues", icon: "queues", key: "g q" },
  { to: "/workers", name: "Workers", icon: "workers", key: "g w" },
  { to: "/schedules", name: "Schedules", icon: "schedules", key: "g s" },
  { to: "/workflows", name: "Workflows", icon: "workflows", key: "g l" },
  { to: "/limits", name: "Limits", icon: "limits", key: "g i" },
  { to: "/tasks", name: "Task types", icon: "tasks", key: "g t" },
  { to: "/system", name: "System", icon: "system", key: "g y" },
];

const drawerOpen = signal(false);
const here = (to: string): boolean => (to === "/" ? route.value.path === "/" : route.value.path.startsWith(to));

function Item({ page }: { page: (typeof PAGES)[number] }): JSX.Element {
  const failures = page.to === "/failures" ? openFailures.value : null;
  return (
    <Link
      to={page.to}
      class="item"
      aria-current={here(page.to) ? "page" : undefined}
      onClickCapture={() => {
        drawerOpen.value = false;
      }}
    >
      <Icon name={page.icon} />
      <span>{page.name}</span>
      {failures ? (
        <b class="pip" aria-label={`${failures} open`}>
          {failures > 99 ? "99+" : failures}
        </b>
      ) : null}
    </Link>
  );
}

function Preferences(): JSX.Element {
  const icon = { system: "screen", light: "sun", dark: "moon" } as const;
  return (
    <div class="preferences">
      <Button kind="quiet" icon={icon[theme.value]} label={`Theme: ${theme.value}`} onClick={nextTheme} />
      <Button kind="quiet" icon="globe" label={`Times in ${zone.value}`} onClick={switchZone}>
        {zoneKind.value === "utc" ? "UTC" : "local"}
      </Button>
      <Button
        kind="quiet"
        icon="help"
        label="Keyboard shortcuts (?)"
        onClick={() => {
          helpOpen.value = true;
        }}
      />
    </div>
  );
}

function Person(): JSX.Element | null {
  if (!boot.name && !boot.role) return null;
  return (
    <div class="person" title={`Your role: ${boot.role}`}>
      <b>{boot.name || "you"}</b>
      <span>{boot.role}</span>
    </div>
  );
}

const WORDS = {
  connecting: ["connecting", "The stream is being opened."],
  live: ["live", "What you see is at most a second old. Click to freeze it."],
  polling: ["polling", "No stream can be had here (a proxy?); the page asks every 5 seconds instead."],
  still: ["live", "Nothing on this page changes by itself."],
  lost: ["reconnecting", "The connection was lost; it is being opened again."],
} as const;

function Live(): JSX.Element {
  const [word, title] = paused.value
    ? ["paused", "Nothing changes until you go on."]
    : WORDS[flowing.value ? connection.value : "connecting"];
  return (
    <button
      type="button"
      class={`live ${paused.value ? "paused" : connection.value}`}
      title={`${title} (p)`}
      aria-pressed={!paused.value}
      onClick={() => {
        paused.value = !paused.value;
      }}
    >
      {paused.value ? <Icon name="play" /> : <i class="dot" />}
      <span>{word}</span>
    </button>
  );
}

export const RANGES = ["15m", "1h", "6h", "24h", "7d", "30d", "90d"] as const;
const WITH_RANGE = [/^\/$/, /^\/queues/, /^\/tasks/];
export const range = (): string => {
  const asked = param("range", "1h");
  return (RANGES as readonly string[]).includes(asked) ? asked : "1h";
};

function RangePicker(): JSX.Element | null {
  if (!WITH_RANGE.some((one) => one.test(route.value.path))) return null;
  return (
    <label class="range">
      <Icon name="clock" />
      <span class="offscreen">Time range</span>
      <select value={range()} onChange={(event) => setQuery({ range: event.currentTarget.value })}>
        {RANGES.map((one) => (
          <option key={one} value={one}>
            last {one}
          </option>
        ))}
      </select>
    </label>
  );
}

function Brand(): JSX.Element {
  return (
    <Link to="/" class="brand" title="Windlass, overview">
      <Mark />
      <span>
        <b>{boot.app || "windlass"}</b>
        {boot.environment && <i class={`environment ${boot.environment}`}>{boot.environment}</i>}
      </span>
    </Link>
  );
}

export function Shell({ children }: { children: ComponentChildren }): JSX.Element {
  const below = PAGES.slice(0, 4);
  useKeys({
    Escape: () => {
      drawerOpen.value = false;
    },
  });
  return (
    <div class="shell">
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          document.getElementById("main")?.focus();
        }}
      >
        To the content
      </a>
      <aside class="rail">
        <Brand />
        <nav aria-label="Pages">
          {PAGES.map((page) => (
            <Item key={page.to} page={page} />
          ))}
        </nav>
        <div class="rail-end">
          <Preferences />
          <Person />
        </div>
      </aside>
      <header class="above">
        <Brand />
        <button
          type="button"
          class="find"
          onClick={() => {
            paletteOpen.value = true;
          }}
        >
          <Icon name="search" />
          <span>Go to a job, queue, task…</span>
          <kbd>Ctrl K</kbd>
        </button>
        <RangePicker />
        <Live />
      </header>
      <main id="main" tabIndex={-1} class={paused.value ? "is-paused" : ""}>
        {children}
      </main>
      <nav class="below" aria-label="Pages">
        {below.map((page) => (
          <Item key={page.to} page={page} />
        ))}
        <button
          type="button"
          class="item"
          aria-expanded={drawerOpen.value}
          onClick={() => {
            drawerOpen.value = !drawerOpen.value;
          }}
        >
          <Icon name="more" />
          <span>More</span>
        </button>
      </nav>
      {drawerOpen.value && (
        <div class="drawer">
          <nav aria-label="More pages">
            {PAGES.slice(4).map((page) => (
              <Item key={page.to} page={page} />
            ))}
          </nav>
          <div class="drawer-end">
            <Preferences />
            <Person />
          </div>
        </div>
      )}
    </div>
  );
}
