import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import type { Locate } from '../shared/config/index.ts';

/** Says where in a YAML or JSON file a key stands; for one that is missing, where it should. */
export function locator(file: string, text: string): Locate {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter });
  return (path) => {
    let node: unknown = document.contents;
    let offset = (node as Node | null)?.range?.[0] ?? 0;
    for (const step of path) {
      const found = childOf(node, step);
      if (found === undefined) break;
      ({ node, offset } = found);
    }
    return `${file}:${lineCounter.linePos(offset).line}`;
  };
}

function childOf(node: unknown, step: PropertyKey): { node: unknown; offset: number } | undefined {
  if (isSeq(node)) {
    const item = node.items[Number(step)];
    return item === undefined ? undefined : { node: item, offset: (item as Node).range?.[0] ?? 0 };
  }
  if (!isMap(node)) return undefined;
  const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
  return pair === undefined ? undefined : { node: pair.value, offset: (pair.key as Node).range?.[0] ?? 0 };
}
