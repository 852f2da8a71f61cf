import { describe, expect, test } from '@jest/globals';
import { crashAt, crashPointsOf, crashStories, deaths } from '../../local/simulator/crash-points.ts';

/** One point in so many; `holdfast simulate --crash-points` tries all. */
const every = 500;

describe('whatever dies at whichever call, every promise holds:', () => {
  test.each(crashStories.map((story) => [story.name, story] as const))('%s', async (_name, story) => {
    const points = await crashPointsOf(story);
    expect(points).toBeGreaterThan(500);
    for (let point = 37; point <= points; point += every)
      for (const death of deaths) {
        const { violations } = await crashAt(story, point, death);
        expect({ point, death, violations }).toEqual({ point, death, violations: [] });
      }
  });
});
