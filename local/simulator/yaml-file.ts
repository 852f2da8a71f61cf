import { type Document, isCollection, isPair, isScalar, LineCounter, parseDocument } from 'yaml';
import type * as z from 'zod';
import { didYouMean } from '../../shared/config/fields.ts';
import { ConfigError } from '../../shared/errors.ts';

/** What is wrong at one place of a file that a person wrote. */
export interface Problem {
  file: string;
  /** 1-based. */
  line: number;
  /** Where in the file, dotted; names an entry of a list by its `id` where it has one. */
  key: string;
  /** What stands there, shortened; absent where nothing does. */
  value?: string;
  /** What should. */
  rule: string;
}

/** A file that does not hold: every problem found in it, in the order of its lines. */
export class InputFileError extends ConfigError {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const sorted = problems.toSorted((a, b) => a.line - b.line);
    const [first] = sorted;
    const shown = sorted.slice(0, shownMax).map(describe);
    if (sorted.length > shownMax) shown.push(`and ${sorted.length - shownMax} more`);
    super(first?.key ?? '', shown.join('\n'));
    this.problems = sorted;
  }
}

const shownMax = 20;
/** Larger files were not written by a person. */
export const yamlBytesMax = 2 * 1024 * 1024;

/** `outage.yaml:7: aws-dns.events.0.until: "1:75": minutes go from 00 to 59`. */
export function describe({ file, line, key, value, rule }: Problem): string {
  return `${file}:${line}: ${[key, value, rule].filter((part) => part !== undefined && part !== '').join(': ')}`;
}

/** What a file says, and where it says it. */
export interface YamlFile<T> {
  value: T;
  /** Line of what stands at a path, or of the nearest thing around it. */
  lineOf(path: readonly PropertyKey[]): number;
}

/**
 * Reads YAML 1.2 (so `1:30` is text and not ninety) and holds it to `schema`. Problems carry their line.
 * @param file how errors name it; it is not opened
 * @throws InputFileError
 */
export function parseYaml<S extends z.ZodType>(source: string, file: string, schema: S): YamlFile<z.output<S>> {
  const fail = (line: number, rule: string) => new InputFileError([{ file, line, key: '', rule }]);
  if (Buffer.byteLength(source) > yamlBytesMax) throw fail(1, `is larger than ${yamlBytesMax} bytes`);
  const lines = new LineCounter();
  let document: Document.Parsed;
  let raw: unknown;
  try {
    document = parseDocument(source, { lineCounter: lines, prettyErrors: false, logLevel: 'silent' });
    if (document.errors.length === 0) raw = document.toJS();
  } catch (error) {
    // Aliases that grow without bound, nesting beyond the stack.
    throw fail(1, `is not YAML that can be read: ${firstLine(error)}`);
  }
  const [broken] = document.errors;
  // What follows the first one is mostly its echo.
  if (broken !== undefined) throw fail(lines.linePos(broken.pos[0]).line, `is not YAML: ${firstLine(broken)}`);
  const lineOf = (path: readonly PropertyKey[]) => Math.max(1, lines.linePos(offsetOf(document, path)).line);
  const parsed = schema.safeParse(raw);
  if (parsed.success) return { value: parsed.data, lineOf };
  throw new InputFileError(
    parsed.error.issues.flatMap((issue) =>
      rulesOf(issue).map(({ rule, path }) => ({
        file,
        line: lineOf(path),
        key: keyOf(path, raw),
        ...(at(raw, path) !== undefined && { value: show(at(raw, path)) }),
        rule,
      })),
    ),
  );
}

/** A zod issue in our words, and the path it is about. */
function rulesOf(issue: z.core.$ZodIssue): { rule: string; path: PropertyKey[] }[] {
  const { path } = issue;
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => ({ rule: issue.message, path: [...path, key] }));
    case 'invalid_key':
      return issue.issues.map(({ message }) => ({ rule: message, path: [...path] }));
    case 'invalid_type':
      return [
        {
          rule: issue.message.startsWith('Invalid input') ? `must be ${article(issue.expected)}` : issue.message,
          path,
        },
      ];
    case 'invalid_value':
      return [{ rule: `must be ${issue.values.map(String).join(' or ')}`, path }];
    case 'too_small':
      return [
        {
          rule:
            issue.origin === 'array' ? `needs at least ${issue.minimum}` : `must be ${least(issue)} ${issue.minimum}`,
          path,
        },
      ];
    case 'too_big':
      return [{ rule: `must be at most ${issue.maximum}${issue.origin === 'array' ? ' long' : ''}`, path }];
    default:
      return [{ rule: issue.message, path }];
  }
}

const least = ({ inclusive }: { inclusive?: boolean }) => (inclusive === false ? 'above' : 'at least');

function article(type: string): string {
  if (type === 'array') return 'a list';
  if (type === 'object' || type === 'record') return 'a map of keys and values';
  if (type === 'string') return 'text (in quotes, if it looks like a number)';
  if (type === 'int') return 'a whole number';
  return `a ${type}`;
}

function offsetOf(document: Document.Parsed, path: readonly PropertyKey[]): number {
  let node: unknown = document.contents;
  let offset = rangeStart(node) ?? 0;
  for (const step of path) {
    if (!isCollection(node)) break;
    const pair = node.items.find(
      (item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(step),
    );
    const next: unknown = isPair(pair) ? pair.value : node.get(step, true);
    offset = (isPair(pair) ? rangeStart(pair.key) : undefined) ?? rangeStart(next) ?? offset;
    if (next === undefined || next === null) break;
    node = next;
  }
  return offset;
}

const rangeStart = (node: unknown): number | undefined =>
  (node as { range?: [number, number, number] } | null | undefined)?.range?.[0];

function keyOf(path: readonly PropertyKey[], raw: unknown): string {
  return path
    .map((step, i) => {
      const id = typeof step === 'number' ? at(raw, [...path.slice(0, i + 1), 'id']) : undefined;
      return typeof id === 'string' ? plainly(id) : String(step);
    })
    .join('.');
}

function at(raw: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, step) =>
      typeof value === 'object' && value !== null && Object.hasOwn(value, step)
        ? (value as Record<PropertyKey, unknown>)[step]
        : undefined,
    raw,
  );
}

function show(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'a map';
  return plainly(JSON.stringify(value) ?? String(value));
}

const plainly = (text: string) => (text.length > 80 ? `${text.slice(0, 80)}…` : text);
const firstLine = (error: unknown) =>
  String((error as Error)?.message)
    .split('\n')[0]!
    .slice(0, 200);

/** ` (did you mean 'x'?)` for a word that is nearly one of `known`; `undefined` for one that is not. */
export function nearMiss(word: string, known: readonly string[]): string | undefined {
  const hint = didYouMean(word, known);
  return hint.startsWith(' (did you mean') ? hint : undefined;
}
