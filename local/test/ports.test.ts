import { expect, test } from '@jest/globals';
import { defaultPortBase, everyPort, portsOf } from '../ports.ts';

test.each([defaultPortBase, 5_000])('from %i on, every port is one that fetch may call', async (base) => {
  const refused = await Promise.all(
    everyPort(base).map((port) =>
      fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(2_000) }).then(
        () => [],
        ({ cause }) => (cause?.message === 'bad port' ? [port] : []),
      ),
    ),
  );
  expect(refused.flat()).toEqual([]);
});

test('a base that would need a port which fetch refuses is refused by the name of that port', () => {
  expect(() => portsOf(4_010)).toThrow('port-base: 4010 needs port 4190, which fetch refuses to call');
});
