/** Who looks at what, and what they prefer to see. The first comes with the page, the second stays in this browser. */
import { computed, effect, signal, type Signal } from "@preact/signals";
import type { Boot, Role } from "./types";

const UNKNOWN: Boot = { prefix: "", app: "", role: "viewer", name: "", environment: "", version: "" };

function readBoot(): Boot {
  try {
    return { ...UNKNOWN, ...(JSON.parse(document.getElementById("windlass")?.textContent || "{}") as Partial<Boot>) };
  } catch {
    return UNKNOWN;
  }
}

export const boot: Boot = readBoot();
const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

/** Whether this person has the role. What is not theirs is not shown; the server decides in any case. */
export const may = (role: Role): boolean => (RANK[boot.role] ?? 0) >= RANK[role];

/** A signal that outlives the page. A browser that keeps nothing (private windows, strict settings) works all the same. */
function stored<T extends string>(name: string, otherwise: T): Signal<T> {
  const key = `windlass.${name}`;
  let first = otherwise;
  try {
    first = (localStorage.getItem(key) as T | null) ?? otherwise;
  } catch {
    /* not allowed: the default it is */
  }
  const value = signal(first);
  effect(() => {
    try {
      localStorage.setItem(key, value.value);
    } catch {
      /* not allowed */
    }
  });
  return value;
}

export type Theme = "system" | "light" | "dark";
export const theme = stored<Theme>("theme", "system");
export const zoneKind = stored<"local" | "utc">("zone", "local");
export const zone = computed(() =>
  zoneKind.value === "utc" ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone,
);

const darkSystem = matchMedia("(prefers-color-scheme: dark)");
const systemDark = signal(darkSystem.matches);
darkSystem.addEventListener("change", (event) => {
  systemDark.value = event.matches;
});
export const dark = computed(() => (theme.value === "system" ? systemDark.value : theme.value === "dark"));
effect(() => {
  document.documentElement.dataset.theme = dark.value ? "dark" : "light";
});

export const THEMES: readonly Theme[] = ["system", "light", "dark"];
export const nextTheme = (): void => {
  theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length];
};
export const switchZone = (): void => {
  zoneKind.value = zoneKind.value === "utc" ? "local" : "utc";
};
