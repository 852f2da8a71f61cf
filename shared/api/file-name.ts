import { badRequest } from './errors.ts';

const nameLengthMax = 255;

/**
 * The name a file is shown under, without the path that some clients send along. It never becomes part of a key.
 * @throws ApiError 400 for an empty, overlong or non-`.jsonl` name, or one with control or direction characters (they
 *   would turn into something else in terminals, headers and lists)
 */
export function cleanFilename(given: string | undefined, param: string): string {
  const name = given?.split(/[/\\]/).at(-1) ?? '';
  if (name === '' || name === '.' || name === '..')
    throw badRequest('invalid_filename', 'The file has no name.', param);
  if (name.length > nameLengthMax)
    throw badRequest('invalid_filename', `The name of the file is longer than ${nameLengthMax} characters.`, param);
  if (!name.isWellFormed() || /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(name))
    throw badRequest('invalid_filename', 'The name of the file contains control characters.', param);
  if (!/\.jsonl$/i.test(name))
    throw badRequest('invalid_file_format', 'Only files named *.jsonl can be used for batches.', param);
  return name;
}

/** `Content-Disposition` of a download: an ASCII name for everyone, the true one for who can read it. */
export function attachment(filename: string): string {
  return `attachment; filename="${asciiName(filename)}"; filename*=UTF-8''${encodeURIComponent(filename).replace(/['()*!]/g, escapeMore)}`;
}

/** Printable ASCII without quotes or backslashes. */
function asciiName(filename: string): string {
  return filename.replace(/[^\x20-\x7e]|["\\%]/g, '_');
}

const escapeMore = (char: string) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`;
