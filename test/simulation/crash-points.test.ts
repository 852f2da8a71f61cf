import { describe, expect, test } from '@jest/globals';
import { crashAt, crashPointsOf, crashStories } from '../../local/simulator/crash-points.ts';

/** One point in so many; `holdfast simulate --crash-points` tries all. */
const every = 120;

describe('whatever dies at whichever call, every promise holds:', () => {
  test.each(crashStories.map((story) => [story.name, story] as const))('%s', async (_name, story) => {
    const points = await crashPointsOf(story);
    expect(points.length).toBeGreaterThan(300);
    for (let i = 37; i < points.length; i += every)
      for (const death of points[i]!.deaths) {
        const { violations } = await crashAt(points[i]!, death);
        expect({ point: points[i]!.call, death, violations }).toEqual({
          point: points[i]!.call,
          death,
          violations: [],
        });
      }
  });
});
