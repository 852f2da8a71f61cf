import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { connectionOf } from '../../../cli/connection.ts';
import { CliError } from '../../../cli/exit.ts';
import { holdfast } from './support.ts';

const control = ['failover', 'failback', 'cordon', 'uncordon', 'drain', 'freeze', 'unfreeze', 'weights'];
const commands = ['up', 'submit', 'status', 'results', 'cancel', 'explain', 'doctor', 'demo', 'runbook', ...control];

describe('usage', () => {
  test.each(commands)('%s --help shows --json and examples on stdout, exit 0', async (command) => {
    const { exitCode, stdout, stderr } = await holdfast([command, '--help']);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('--json');
    expect(stdout).toContain(`$ holdfast ${command}`);
    expect(stderr).toBe('');
  });

  test('--help names every command and every exit code', async () => {
    const { exitCode, stdout } = await holdfast(['--help']);
    expect(exitCode).toBe(0);
    for (const command of commands) expect(stdout).toContain(`  ${command} `);
    for (const code of ['0  done', '1  the answer', '2  the', '3  no', '130  inter']) expect(stdout).toContain(code);
  });

  test.each([
    ['an unknown command', ['frobnicate'], "unknown command 'frobnicate'"],
    ['an unknown flag', ['status', '--jsno'], "unknown option '--jsno'"],
    ['a missing argument', ['submit'], "missing required argument 'file'"],
    ['an argument too many', ['cancel', 'a', 'b'], 'too many arguments'],
    ['a missing flag', ['results', 'b'], "'--out <dir>' not specified"],
    ['a cloud that is none', ['submit', 'f', '--cloud', 'gcp'], 'Allowed choices are aws, azure, auto'],
    ['a port base that is no number', ['status', '--port-base', '4k'], 'whole number from 1024 to 65000'],
    ['a port base out of range', ['up', '--port-base', '80'], 'whole number from 1024 to 65000'],
    ['an address that is none', ['status', '--aws', 'ftp://x'], "--aws: 'ftp://x' is not an http or https address"],
    ['an address with a password', ['status', '--azure', 'http://a:b@c'], 'neither user nor query'],
    ['metadata without a name', ['submit', 'f', '--metadata', 'x'], "--metadata 'x': it must be name=value"],
    ['no command at all', [], 'Usage: holdfast'],
  ])('%s: exit 2, the reason on stderr, nothing on stdout', async (_, argv, message) => {
    const { exitCode, stdout, stderr } = await holdfast(argv);
    expect([exitCode, stdout]).toEqual([2, '']);
    expect(stderr).toContain(message);
  });

  test('escapes in an argument do not come back to the terminal', async () => {
    const { stderr } = await holdfast(['\u001b]0;owned\u0007']);
    expect(stderr.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
  });
});

describe('connection', () => {
  const both = {
    HOLDFAST_AWS_URL: 'https://a.example/v1/',
    HOLDFAST_AZURE_URL: 'https://b.example',
    HOLDFAST_KEY: 'k',
  };

  test.each([
    [
      'nothing: the local clouds',
      {},
      {},
      ['http://127.0.0.1:4100/v1', 'http://127.0.0.1:4200/v1', 'hf_local_operator'],
    ],
    [
      'a port base moves both',
      { portBase: 5000 },
      {},
      ['http://127.0.0.1:5100/v1', 'http://127.0.0.1:5200/v1', 'hf_local_operator'],
    ],
    ['the environment, with or without /v1', {}, both, ['https://a.example/v1', 'https://b.example/v1', 'k']],
    [
      'flags before the environment',
      { aws: 'http://c/x', key: 'f' },
      both,
      ['http://c/x/v1', 'https://b.example/v1', 'f'],
    ],
    [
      'a port base before the environment',
      { portBase: 5000 },
      both,
      ['http://127.0.0.1:5100/v1', 'http://127.0.0.1:5200/v1', 'k'],
    ],
    [
      'empty variables count as unset',
      {},
      { HOLDFAST_AWS_URL: '', HOLDFAST_KEY: '' },
      ['http://127.0.0.1:4100/v1', 'http://127.0.0.1:4200/v1', 'hf_local_operator'],
    ],
  ])('%s', (_, flags, env, [aws, azure, key]) => {
    expect(connectionOf(flags, env)).toEqual({ aws, azure, key });
  });

  test('a bad address in the environment is named by its variable', () => {
    expect(() => connectionOf({}, { HOLDFAST_AZURE_URL: 'localhost' })).toThrow(CliError);
    expect(() => connectionOf({}, { HOLDFAST_AZURE_URL: 'localhost' })).toThrow('HOLDFAST_AZURE_URL');
  });
});

describe('bin/holdfast.mjs', () => {
  const bin = resolve(import.meta.dirname, '..', '..', '..', 'bin', 'holdfast.mjs');

  test('runs on this Node and passes the exit code on', () => {
    const { status, stderr } = spawnSync(process.execPath, [bin, 'frobnicate'], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([2, expect.stringContaining('unknown command')]);
  });

  const path = '/usr/local/bin:/usr/bin:/bin';
  const machine = spawnSync('node', ['--version'], { encoding: 'utf8', env: { PATH: path } });
  const isOld = machine.status === 0 && Number(machine.stdout.slice(1).split('.')[0]) < 24;

  (isOld ? test : test.skip)('on an older Node (the machine has one) it runs all the same', () => {
    const env = { PATH: path, HOME: '/tmp' };
    const { status, stdout } = spawnSync('node', [bin, 'doctor', '--json', '--port-base', '1024'], {
      encoding: 'utf8',
      env,
    });
    expect(status).toBe(3);
    const node = JSON.parse(stdout).checks.find(({ name }: { name: string }) => name === 'node');
    expect(node.verdict).toBe('ok');
  });
});
