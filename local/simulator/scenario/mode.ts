import { durationRule, parseDuration } from './time.ts';
import type { EffectMode } from './types.ts';

/** A mode, or what is wrong with it. */
type Parsed = { mode: EffectMode } | { rule: string };

const commands = {
  failover: ['from', 'to'],
  failback: ['site'],
} as const;

/** How each mode is written, and how its arguments are read. */
const modes: Record<string, { form: string; read(args: readonly string[]): Parsed }> = {
  ok: bare('ok'),
  new_conns_only: bare('new_conns_only'),
  cold_only: bare('cold_only'),
  freeze: bare('freeze'),
  gone: bare('gone'),
  error: {
    form: 'error(code,rate)',
    read: ([code, rate]) =>
      withShare(rate, (share) => withName(code, (name) => ({ kind: 'error', code: name, rate: share }))),
  },
  timeout: {
    form: 'timeout(after[,rate])',
    read: ([after, rate = '1']) =>
      withShare(rate, (share) => withSpan(after, (afterMs) => ({ mode: { kind: 'timeout', afterMs, rate: share } }))),
  },
  slow: {
    form: 'slow(p50,p99)',
    read: ([p50, p99]) =>
      withSpan(p50, (p50Ms) =>
        withSpan(p99, (p99Ms) =>
          p50Ms > p99Ms
            ? { rule: `p99 (${p99}) must not be less than p50 (${p50})` }
            : { mode: { kind: 'slow', p50Ms, p99Ms } },
        ),
      ),
  },
  throttle: {
    form: 'throttle(share)',
    read: ([share]) => withShare(share, (value) => ({ mode: { kind: 'throttle', share: value } })),
  },
  drop_reply: {
    form: 'drop_reply(rate)',
    read: ([rate]) => withShare(rate, (value) => ({ mode: { kind: 'drop_reply', rate: value } })),
  },
  stale: {
    form: 'stale(age)',
    read: ([age]) =>
      age === 'inf'
        ? { mode: { kind: 'stale', ageMs: Number.POSITIVE_INFINITY } }
        : withSpan(age, (ageMs) => ({ mode: { kind: 'stale', ageMs } })),
  },
  partial: {
    form: 'partial(cohort,rate)',
    read: ([cohort, rate]) =>
      withShare(rate, (share) => withName(cohort, (name) => ({ kind: 'partial', cohort: name, rate: share }))),
  },
};

const forms = [...Object.values(modes).map(({ form }) => form), 'failover(from=,to=)', 'failback(site=)'];

/**
 * Every mode of `a & b`, or the rule that the first bad one breaks.
 * @param isOperator whether the target is a person, who commands, or a thing, which fails
 */
export function parseModes(text: string, isOperator: boolean): EffectMode[] | string {
  const found: EffectMode[] = [];
  for (const part of text.split('&')) {
    const parsed = parseMode(part.trim(), isOperator);
    if ('rule' in parsed) return parsed.rule;
    found.push(parsed.mode);
  }
  return found;
}

function parseMode(text: string, isOperator: boolean): Parsed {
  const [, name, inner] = /^([a-z_]+)(?:\(([^()]*)\))?$/.exec(text) ?? [];
  if (name === undefined) return { rule: `'${text.slice(0, 60)}' is no mode; there is: ${forms.join(' | ')}` };
  const args = inner === undefined ? [] : inner.split(',').map((one) => one.trim());
  if (Object.hasOwn(commands, name)) {
    if (!isOperator) return { rule: `${name} is a command: only an operator gives one` };
    return parseCommand(name as keyof typeof commands, args);
  }
  const mode = Object.hasOwn(modes, name) ? modes[name] : undefined;
  if (mode === undefined) return { rule: `'${name}' is no mode; there is: ${forms.join(' | ')}` };
  if (isOperator && name !== 'ok')
    return { rule: 'an operator takes a command: failover(from=,to=) or failback(site=)' };
  const [least, most] = argumentsOf(mode.form);
  if (args.length < least || args.length > most || args.includes('')) return { rule: `must be written ${mode.form}` };
  return mode.read(args);
}

function parseCommand(command: keyof typeof commands, args: readonly string[]): Parsed {
  const entries = args.map((one) => /^([a-z_]+)\s*=\s*([A-Za-z0-9_.-]+)$/.exec(one));
  const given = new Map(entries.flatMap((entry) => (entry === null ? [] : [[entry[1]!, entry[2]!] as const])));
  const isComplete = commands[command].every((name) => given.has(name));
  if (entries.includes(null) || given.size !== entries.length || !isComplete)
    return { rule: `must be written ${command}(${commands[command].map((name) => `${name}=`).join(',')})` };
  return { mode: { kind: 'command', command, args: Object.fromEntries(given) } };
}

function bare(kind: 'ok' | 'new_conns_only' | 'cold_only' | 'freeze' | 'gone') {
  return { form: kind, read: (): Parsed => ({ mode: { kind } }) };
}

/** Fewest and most arguments of a form. */
function argumentsOf(form: string): [number, number] {
  const inner = /\((.*)\)/.exec(form)?.[1];
  if (inner === undefined) return [0, 0];
  return [inner.replace(/\[.*?\]/g, '').split(',').length, inner.split(',').length];
}

function withShare(text: string | undefined, then: (share: number) => Parsed): Parsed {
  const share = /^(\d{1,3}(\.\d{1,9})?|\.\d{1,9})$/.test(text ?? '') ? Number(text) : Number.NaN;
  return share >= 0 && share <= 1 ? then(share) : { rule: `'${text}' must be a share from 0 to 1` };
}

function withSpan(text: string | undefined, then: (ms: number) => Parsed): Parsed {
  const ms = parseDuration(text ?? '');
  return ms === undefined ? { rule: `'${text}' ${durationRule}` } : then(ms);
}

function withName(text: string | undefined, then: (name: string) => EffectMode): Parsed {
  return /^[A-Za-z0-9_.-]{1,60}$/.test(text ?? '')
    ? { mode: then(text!) }
    : { rule: `'${text?.slice(0, 60)}' must be 1 to 60 of letters, digits, '_', '.' and '-'` };
}
