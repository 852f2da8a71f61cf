import { describe, expect, test } from '@jest/globals';
import { Printer } from '../../../cli/io.ts';
import { createProgress } from '../../../cli/progress.ts';
import { jsonLine, plain, stylesFor, table, text } from '../../../cli/text.ts';

const hostile: [string, string][] = [
  ['colours', '\u001b[31mred\u001b[0m'],
  ['a cursor that moves up and overwrites', 'ok\u001b[1A\u001b[2Kforged'],
  ['a window title', '\u001b]0;owned\u0007x'],
  ['a hyperlink', '\u001b]8;;http://evil\u0007click\u001b]8;;\u0007'],
  ['an escape sequence that never ends', 'a\u001b['],
  ['a C1 control', 'a\u009b31mb'],
  ['a carriage return', 'all is well\rPROBLEM'],
  ['a line end', 'one\ntwo'],
  ['a backspace', 'rm\u0008\u0008ls'],
  ['a bell', 'a\u0007b'],
  ['text turned right to left', 'a\u202egnp.exe'],
  ['a line separator', 'a\u2028b'],
];
const acting = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u;

describe('plain', () => {
  test.each(hostile)('leaves nothing that a terminal acts on: %s', (_, value) => {
    expect(plain(value)).not.toMatch(acting);
    expect(plain(value)).not.toContain('\n');
  });

  test('keeps ordinary text of any script as it is', () => {
    const value = 'Größe: 5 µm, 漢字, עברית, emoji 👩‍🚀, [31m without its escape';
    expect(plain(value)).toBe(value);
  });
});

describe('what is printed', () => {
  test.each(hostile)('values of the text template, of styles and of tables are cleaned: %s', (_, value) => {
    const { bold } = stylesFor(false);
    for (const shown of [text`a ${value} b`, bold(value), text`${bold(value)}`, ...table([[value, text`${value}`]])])
      expect(String(shown)).not.toMatch(acting);
  });

  test('styles stay when they are put into other text', () => {
    const { red } = stylesFor(true);
    expect(String(text`a ${red('b')} c`)).toBe('a \u001b[31mb\u001b[39m c');
  });

  test.each(hostile)(
    'JSON is one line without acting characters, and parses back to the very value: %s',
    (_, value) => {
      const line = String(jsonLine({ value }));
      expect(line).not.toMatch(acting);
      expect(line).not.toContain('\n');
      expect(JSON.parse(line)).toEqual({ value });
    },
  );

  test('columns align by what is seen, not by escapes', () => {
    const { red } = stylesFor(true);
    const [first, second] = table([
      [red('a'), 'x'],
      ['bbb', 'y'],
    ]);
    expect(String(first)).toBe(`${red('a')}    x`);
    expect(String(second)).toBe('bbb  y');
  });
});

describe('progress off a terminal', () => {
  const recorded = () => {
    let now = 0;
    const lines: string[] = [];
    const io = { stderr: { write: (chunk: string) => lines.push(chunk) }, env: {} };
    return { lines, progress: createProgress(io, () => now), pass: (ms: number) => (now += ms) };
  };

  test('is plain lines: the first, one every two seconds, and the last', () => {
    const { lines, progress, pass } = recorded();
    const track = progress.track('aws', 100);
    for (let value = 1; value <= 100; value++) {
      track.update(value);
      pass(100);
    }
    progress.stop();
    expect(lines.map((line) => line.trim())).toEqual([
      'aws 1/100',
      'aws 21/100',
      'aws 41/100',
      'aws 61/100',
      'aws 81/100',
      'aws 100/100',
    ]);
  });

  test('says at the end what was not said yet, and nothing twice', () => {
    const { lines, progress } = recorded();
    const track = progress.track('aws', 10);
    track.update(1);
    track.update(2, 10, 'in_progress');
    progress.stop();
    progress.stop();
    expect(lines).toEqual(['  aws 1/10\n', '  aws 2/10 in_progress\n']);
  });
});

test('under --json only the result reaches stdout', () => {
  const out = { stdout: '', stderr: '' };
  const sink = (name: 'stdout' | 'stderr') => ({ write: (chunk: string) => (out[name] += chunk) });
  const signal = new AbortController().signal;
  const print = new Printer({ stdout: sink('stdout'), stderr: sink('stderr'), env: {}, signal }, true);
  print.say(text`for people`);
  print.note(text`a note`);
  print.result({ ok: true }, () => [text`well`]);
  expect(out).toEqual({ stdout: '{"ok":true}\n', stderr: 'a note\n' });
});
