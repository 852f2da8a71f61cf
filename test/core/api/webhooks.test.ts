import { describe, expect, test } from '@jest/globals';
import { Webhook } from 'standardwebhooks';
import { ManualClock } from '../../../local/in-memory/clock.ts';
import { batchEvent, createCallbacks, type Post } from '../../../shared/api/webhooks.ts';
import { guardAddress, isPublic } from '../../../shared/inference/address.ts';
import { terminalStatuses } from '../../../shared/journal/facts.ts';
import { silentLog } from '../../../shared/ports/log.ts';
import { publicationOf } from './support.ts';

const secret = `whsec_${Buffer.from('a secret of some length').toString('base64')}`;
const batch = `batch_${'a'.repeat(32)}`;
const publicHost = async () => ['93.184.216.34'];

function callbacks(post: Post, more: Partial<Parameters<typeof createCallbacks>[0]> = {}) {
  const clock = new ManualClock(Date.now());
  const made = createCallbacks({
    webhooks: { acme: { url: 'https://hooks.example/x', secret } },
    rules: { allowPrivate: [], lookup: publicHost },
    post,
    clock,
    log: silentLog,
    ...more,
  });
  return { ...made, clock };
}

describe('webhooks', () => {
  test('an event that Standard Webhooks verifies is posted to the judged addresses', async () => {
    const sent: Parameters<Post>[0][] = [];
    const { batchEnded } = callbacks(async (request) => {
      sent.push(request);
      return 200;
    });
    expect(await batchEnded(publicationOf(batch))).toBe(true);
    expect(sent).toHaveLength(1);
    expect(sent[0]).toMatchObject({ addresses: ['93.184.216.34'] });
    expect(new Webhook(secret).verify(sent[0]!.body, sent[0]!.headers)).toEqual({
      id: sent[0]!.headers['webhook-id'],
      object: 'event',
      type: 'batch.completed',
      created_at: Math.floor(publicationOf(batch).endedAt / 1000),
      data: { id: batch },
    });
  });

  test.each(terminalStatuses)('a batch that is %s is told as such', (status) => {
    expect(JSON.parse(batchEvent(publicationOf(batch, { status })).body).type).toBe(`batch.${status}`);
  });

  test('F31: sent again, by whichever cloud and whenever, the event has the same id and the same bytes', async () => {
    const sent: Parameters<Post>[0][] = [];
    const one = callbacks(async (request) => sent.push(request) && 200);
    await one.batchEnded(publicationOf(batch));
    const two = callbacks(async (request) => sent.push(request) && 200);
    await two.clock.advance(120_000);
    await two.batchEnded(publicationOf(batch));
    expect(sent[1]!.body).toBe(sent[0]!.body);
    expect(sent[1]!.headers['webhook-id']).toBe(sent[0]!.headers['webhook-id']);
  });

  test.each([
    [200, true],
    [204, true],
    [302, false],
    [410, false],
    [500, false],
  ])('an answer of %d means told: %j', async (status, isTold) => {
    expect(await callbacks(async () => status).batchEnded(publicationOf(batch))).toBe(isTold);
  });

  test('a receiver that never answers is given up after ten seconds, to be told again', async () => {
    const { batchEnded, clock } = callbacks(() => new Promise(() => {}));
    const telling = batchEnded(publicationOf(batch));
    for (let i = 0; i < 20 && clock.sleeping === 0; i++) await new Promise(setImmediate);
    await clock.advance(10_000);
    expect(await telling).toBe(false);
  });

  test('a tenant that asked for nothing is told, at no cost', async () => {
    const { batchEnded } = callbacks(async () => {
      throw new Error('posted');
    });
    expect(await batchEnded(publicationOf(batch, { tenant: 'umbrella' }))).toBe(true);
  });

  test('a private address is not posted to', async () => {
    let posted = 0;
    const { batchEnded } = callbacks(async () => ++posted, {
      rules: { allowPrivate: [], lookup: async () => ['10.0.0.7'] },
    });
    expect([await batchEnded(publicationOf(batch)), posted]).toEqual([false, 0]);
  });
});

describe('guarding an address', () => {
  const refuses = (url: string, lookup = publicHost, allowPrivate: string[] = []) =>
    guardAddress(url, { allowPrivate, lookup }).then((one) => ('refused' in one ? one.refused : undefined));

  test.each([
    'https://127.0.0.1/',
    'https://2130706433/',
    'https://0x7f.1/',
    'https://0x7f000001/',
    'https://017700000001/',
    'https://0177.0.0.1/',
    'https://127.1/',
    'https://0/',
    'https://10.1.2.3/',
    'https://172.31.255.255/',
    'https://192.168.0.1/',
    'https://100.64.0.1/',
    'https://169.254.169.254/latest/meta-data',
    'https://168.63.129.16/',
    'https://224.0.0.1/',
    'https://255.255.255.255/',
    'https://[::1]/',
    'https://[::]/',
    'https://[::ffff:127.0.0.1]/',
    'https://[::ffff:7f00:1]/',
    'https://[::ffff:a9fe:a9fe]/',
    'https://[::127.0.0.1]/',
    'https://[64:ff9b::7f00:1]/',
    'https://[2002:7f00:1::]/',
    'https://[2001:0:7f00:1::]/',
    'https://[fe80::1]/',
    'https://[fd00:ec2::254]/',
    'https://[ff02::1]/',
    'https://①②⑦.⓪.⓪.①/',
  ])('%s is refused as private', async (url) => {
    expect(await refuses(url)).toBe('leads to a private address');
  });

  test.each([['127.0.0.1'], ['::1'], ['169.254.169.254'], ['::ffff:10.0.0.1'], ['fd00::1']])(
    'a name that resolves to %s is refused, also beside a public address',
    async (address) => {
      expect(await refuses('https://innocent.example/', async () => ['93.184.216.34', address])).toBe(
        'leads to a private address',
      );
    },
  );

  test.each([
    ['http://hooks.example/', 'not https'],
    ['ftp://hooks.example/', 'neither https nor http'],
    ['file:///etc/passwd', 'neither https nor http'],
    ['https://user:pass@hooks.example/', 'carries credentials'],
    ['hooks.example', 'not an absolute address'],
    ['https://256.0.0.1/', 'not an absolute address'],
  ])('%s is refused: %s', async (url, why) => {
    expect(await refuses(url)).toBe(why);
  });

  test('a name that does not resolve, or resolves to no address, is refused', async () => {
    expect(await refuses('https://gone.example/', async () => [])).toBe('does not resolve');
    expect(await refuses('https://gone.example/', async () => Promise.reject(new Error('ENOTFOUND')))).toBe(
      'does not resolve',
    );
    expect(await refuses('https://odd.example/', async () => ['not an address'])).toBe('does not resolve');
  });

  test.each([
    ['https://93.184.216.34/', []],
    ['https://[2606:2800:220:1::1]/', []],
    ['http://127.0.0.1:4120/v1', ['127.0.0.1']],
    ['http://10.20.30.40/', ['10.20.0.0/16']],
    ['http://[fd00::5]/', ['fd00::/8']],
    ['http://model.internal:8000/v1', ['model.internal']],
  ])('%s is let through, with %j allowed', async (url, allowPrivate) => {
    expect(await refuses(url, publicHost, allowPrivate)).toBeUndefined();
  });

  test('an allowed range does not allow a name that also resolves outside of it', async () => {
    expect(await refuses('http://x.example/', async () => ['10.0.0.1', '192.168.0.1'], ['10.0.0.0/8'])).toBe(
      'not https',
    );
  });

  test('a text that is no address is not public', () => {
    expect(isPublic('localhost')).toBe(false);
  });
});
