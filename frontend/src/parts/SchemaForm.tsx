/** A form from a JSON Schema: simple types get their fields, everything else takes JSON. */
import type { JSX } from "preact";
import { parseJson, printJson } from "../json";
import type { Schema } from "../types";

/** The schema behind references and an "or null". */
export function resolved(schema: Schema, root: Schema): Schema {
  if (schema.$ref) return resolved(root.$defs?.[schema.$ref.replace(/^#\/\$defs\//, "")] ?? {}, root);
  const real = schema.anyOf?.filter((one) => one.type !== "null");
  return real?.length === 1
    ? { ...resolved(real[0], root), default: schema.default, description: schema.description }
    : schema;
}

export const fieldsOf = (schema: Schema): [string, Schema, boolean][] =>
  Object.entries(schema.properties ?? {}).map(([name, one]) => [
    name,
    resolved(one, schema),
    schema.required?.includes(name) ?? false,
  ]);

export type Texts = Record<string, string>;

/** The texts with which the form begins. */
export const firstTexts = (schema: Schema): Texts =>
  Object.fromEntries(
    fieldsOf(schema).map(([name, one]) => [
      name,
      one.default === undefined || one.default === null ? "" : textOf(one.default),
    ]),
  );

const textOf = (value: unknown): string => (typeof value === "string" ? value : printJson(value, 0));

/** The arguments that the texts mean, or what is wrong, by field. Fields left empty that need not be given are left out. */
export function argumentsOf(schema: Schema, texts: Texts): { value: Record<string, unknown>; wrong: Texts } {
  const value: Record<string, unknown> = {};
  const wrong: Texts = {};
  for (const [name, one, required] of fieldsOf(schema)) {
    const text = texts[name] ?? "";
    if (text === "") {
      if (required && one.type === "string" && !one.enum) value[name] = "";
      else if (required) wrong[name] = "needed";
      continue;
    }
    try {
      value[name] = one.type === "string" || (one.enum && typeof one.enum[0] === "string") ? text : parseJson(text);
      if ((one.type === "integer" || one.type === "number") && !/^(number|bigint)$/.test(typeof value[name]))
        wrong[name] = "a number";
      if (one.type === "integer" && typeof value[name] === "number" && !Number.isInteger(value[name]))
        wrong[name] = "a whole number";
    } catch {
      wrong[name] = one.type === "integer" || one.type === "number" ? "a number" : "not JSON";
    }
  }
  return { value, wrong };
}

export function SchemaForm({
  schema,
  texts,
  change,
  wrong,
}: {
  schema: Schema;
  texts: Texts;
  change: (texts: Texts) => void;
  wrong: Texts;
}): JSX.Element {
  const fields = fieldsOf(schema);
  if (!fields.length) return <p class="faint">It takes no arguments.</p>;
  return (
    <div class="fields">
      {fields.map(([name, one, required]) => {
        const set = (text: string): void => change({ ...texts, [name]: text });
        const said = wrong[name];
        const common = { id: `field-${name}`, "aria-invalid": Boolean(said), "aria-describedby": `note-${name}` };
        const type = Array.isArray(one.type) ? one.type.join(" or ") : one.type;
        return (
          <div class="field" key={name}>
            <label for={common.id}>
              <b class="mono">{name}</b>{" "}
              <span class="faint">
                {one.enum ? "choice" : (one.format ?? type ?? "JSON")}
                {required ? "" : ", optional"}
              </span>
            </label>
            {one.enum ? (
              <select {...common} value={texts[name]} onChange={(event) => set(event.currentTarget.value)}>
                {!texts[name] && <option value="">–</option>}
                {one.enum.map((each) => (
                  <option key={String(each)} value={textOf(each)}>
                    {textOf(each)}
                  </option>
                ))}
              </select>
            ) : one.type === "boolean" ? (
              <select {...common} value={texts[name]} onChange={(event) => set(event.currentTarget.value)}>
                <option value="">–</option>
                <option>true</option>
                <option>false</option>
              </select>
            ) : one.type === "array" || one.type === "object" || !one.type ? (
              <textarea
                {...common}
                class="mono"
                rows={3}
                value={texts[name]}
                placeholder={one.type === "array" ? "[]" : "{}"}
                spellcheck={false}
                onInput={(event) => set(event.currentTarget.value)}
              />
            ) : (
              <input
                {...common}
                type="text"
                inputMode={one.type === "integer" || one.type === "number" ? "decimal" : "text"}
                value={texts[name]}
                autocomplete="off"
                spellcheck={false}
                onInput={(event) => set(event.currentTarget.value)}
              />
            )}
            <span id={`note-${name}`} class={said ? "wrong" : "faint"}>
              {said ?? one.description ?? ""}
            </span>
          </div>
        );
      })}
    </div>
  );
}
