import { stripVTControlCharacters } from 'node:util';
import { createColors } from 'picocolors';

/** C0 and C1 controls, line separators, and marks that turn the direction of text: a terminal acts on them. */
const acting = /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/gu;

/**
 * Any text as one harmless line: terminal escapes are taken out, what else a terminal acts on becomes `\ufffd`, and line
 * ends and tabs become blanks.
 */
export function plain(value: unknown): string {
  return stripVTControlCharacters(String(value))
    .replace(/[\t\n\r]+/g, ' ')
    .replace(acting, '\ufffd');
}

/** Text that is safe to print: made by `text` or a style, from literals of ours and cleaned values. */
export class Text {
  readonly value: string;

  private constructor(value: string) {
    this.value = value;
  }

  /** Only for this module: whoever calls it vouches for the value. */
  static trusted(value: string): Text {
    return new Text(value);
  }

  toString(): string {
    return this.value;
  }
}

/** Template whose values are cleaned by `plain`, unless they are `Text` already. Printing takes nothing else. */
export function text(literals: TemplateStringsArray, ...values: unknown[]): Text {
  return Text.trusted(
    literals.reduce((sum, literal, i) => sum + literal + (i < values.length ? cleaned(values[i]) : ''), ''),
  );
}

/** Several texts with a separator of ours between them. */
export function joined(parts: readonly Text[], separator: ', ' | '  ' | ' ' | '\n' | '; '): Text {
  return Text.trusted(parts.map(String).join(separator));
}

function cleaned(value: unknown): string {
  return value instanceof Text ? value.value : plain(value);
}

export type Style = (value: unknown) => Text;
export type Styles = Record<'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan', Style>;

/** Styles for a terminal, or ones that change nothing. */
export function stylesFor(hasColors: boolean): Styles {
  const colors = createColors(hasColors);
  const style =
    (name: keyof Styles): Style =>
    (value) =>
      Text.trusted(colors[name](cleaned(value)));
  return {
    bold: style('bold'),
    dim: style('dim'),
    red: style('red'),
    green: style('green'),
    yellow: style('yellow'),
    cyan: style('cyan'),
  };
}

/** Columns as wide as their widest cell; numbers stand to the right. */
export function table(rows: readonly (readonly (Text | string | number)[])[]): Text[] {
  const shown = rows.map((row) =>
    row.map((cell) => ({ value: cleaned(cell), width: widthOf(cell), right: typeof cell === 'number' })),
  );
  const widths = shown.reduce<number[]>(
    (widest, row) => row.map((cell, i) => Math.max(cell.width, widest[i] ?? 0)),
    [],
  );
  return shown.map((row) =>
    Text.trusted(
      row
        .map(({ value, width, right }, i) => {
          const gap = ' '.repeat(widths[i]! - width);
          return right ? gap + value : value + gap;
        })
        .join('  ')
        .trimEnd(),
    ),
  );
}

function widthOf(value: unknown): number {
  return [...stripVTControlCharacters(cleaned(value))].length;
}

/** One line of JSON that no terminal acts on. */
export function jsonLine(value: unknown): Text {
  const json = JSON.stringify(value).replace(acting, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return Text.trusted(json);
}
