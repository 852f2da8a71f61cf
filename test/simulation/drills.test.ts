import { describe, expect, test } from '@jest/globals';
import { crashAt, crashPointsOf, drillStories } from '../../local/simulator/crash-points.ts';

describe('I11, F48: whenever the runner of a drill dies, within its lease nothing of it is left:', () => {
  test.each(drillStories.map((story) => [story.name, story] as const))(
    '%s',
    async (_name, story) => {
      const points = await crashPointsOf(story);
      expect(points.length).toBeGreaterThan(10);
      let died = 0;
      for (let i = 0; i < points.length; i++)
        for (const death of points[i]!.deaths) {
          const { violations, reached } = await crashAt(points[i]!, death);
          expect({ point: points[i]!.call, death, violations }).toEqual({
            point: points[i]!.call,
            death,
            violations: [],
          });
          // A call that the drill's own fault refuses has no effect after which anybody could die.
          if (death === 'process, call unsent') died += reached['a drill died'] ?? 0;
        }
      expect(died).toBe(points.length);
    },
    3_600_000,
  );
});
