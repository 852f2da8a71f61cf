import { expect, test } from '@jest/globals';
import * as z from 'zod';
test('smoke', () => { expect(z.string().parse('a')).toBe('a'); expect(import.meta.dirname).toMatch(/core/); });
