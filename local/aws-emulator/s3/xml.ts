import type { S3Error } from './error.ts';

type Xml = string | number | boolean | undefined | Xml[] | { [tag: string]: Xml };

/** One XML document; arrays repeat their tag, `undefined` leaves it out. */
export function toXml(root: string, content: Xml): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${element(root, content, ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"')}`;
}

export function errorXml(error: S3Error, resource: string): string {
  const content = { Code: error.code, Message: error.message, Resource: resource, RequestId: 'local' };
  return `<?xml version="1.0" encoding="UTF-8"?>\n${element('Error', content)}`;
}

/** The parts that a completion names, in the order in which it names them. */
export function parseParts(xml: string): { number: number; etag: string }[] {
  return [...xml.matchAll(/<Part>(.*?)<\/Part>/gs)].map(([, part = '']) => ({
    number: Number(/<PartNumber>\s*(\d+)\s*<\/PartNumber>/.exec(part)?.[1]),
    etag: (/<ETag>(.*?)<\/ETag>/s.exec(part)?.[1] ?? '').replaceAll(/&quot;|&#34;|"/g, '').trim(),
  }));
}

function element(tag: string, content: Xml, attributes = ''): string {
  if (content === undefined) return '';
  if (Array.isArray(content)) return content.map((each) => element(tag, each)).join('');
  const inner =
    typeof content === 'object'
      ? Object.entries(content)
          .map(([name, value]) => element(name, value))
          .join('')
      : escapeText(String(content));
  return `<${tag}${attributes}>${inner}</${tag}>`;
}

const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\r': '&#13;' };

function escapeText(text: string): string {
  return text.replaceAll(/[&<>"\r]/g, (char) => ESCAPES[char] ?? char);
}
