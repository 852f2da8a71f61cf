/** Markup that is safe to write: made by `html` from literals of ours and escaped values. */
export class Html {
  readonly value: string;

  private constructor(value: string) {
    this.value = value;
  }

  /** Only for `html`, which vouches for it. */
  static trusted(value: string): Html {
    return new Html(value);
  }

  toString(): string {
    return this.value;
  }
}

/** Template whose values are escaped, unless they are markup already; lists are written one after the other. */
export function html(literals: TemplateStringsArray, ...values: unknown[]): Html {
  return Html.trusted(
    literals.reduce((sum, literal, i) => sum + literal + (i < values.length ? escaped(values[i]) : ''), ''),
  );
}

function escaped(value: unknown): string {
  if (value instanceof Html) return value.value;
  if (Array.isArray(value)) return value.map(escaped).join('');
  return String(value ?? '').replace(/[&<>"'`]|[^\P{Cc}\n]|\p{Bidi_Control}/gu, (one) => entities[one] ?? '\ufffd');
}

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
  '`': '&#96;',
};
