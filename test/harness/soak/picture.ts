import { draw, type Panel } from '../chart.ts';
import { isAtRest, type Look, type Sample, type Soak } from './soak.ts';
import type { Verdict } from './verdict.ts';

type Figure = Exclude<keyof Look, 'x'>;

interface Drawn extends Pick<Soak, 'samples' | 'looks' | 'disturbances' | 'source'> {
  readonly verdicts: readonly (Verdict & { readonly figure: Figure })[];
  readonly isHostile: boolean;
}

/** A panel for each metric: at work, at rest, and the line by which it was evaluated. @returns SVG */
export function picture({ samples, looks, disturbances, verdicts, source, isHostile }: Drawn): string {
  const panels = verdicts.map(({ figure, name, unit, slope, judgement, points }): Panel => {
    const [first, last] = [points.at(0)?.x ?? 0, points.at(-1)?.x ?? 0];
    const line = (x: number) => ({ x, y: (slope?.at0 ?? 0) + (slope?.perX ?? 0) * x });
    const atWork = isAtRest(figure) ? [] : samples.map((sample: Sample) => ({ x: sample.x, y: sample[figure] }));
    const by = slope === undefined ? '' : `: ${slope.perX.toFixed(2)} ± ${slope.margin.toFixed(2)} ${unit} a day`;
    return {
      title: unit === '' ? name : `${name}, ${unit}`,
      note: `${judgement}${by}`,
      series: [
        ...(atWork.length === 0 ? [] : [{ name: 'at work', points: atWork, colour: 0 }]),
        { name: 'at rest', points: looks.map((look) => ({ x: look.x, y: look[figure] })), as: 'dots', colour: 1 },
        ...(figure === 'unit' ? [{ name: 'peer at its mean', points, as: 'dots' as const, colour: 3 }] : []),
        ...(slope === undefined
          ? []
          : [{ name: 'judged', points: [line(first), line(last)], as: 'dashes' as const, colour: 2 }]),
      ],
    };
  });
  return draw({
    title: `The agent over days of a gateway${isHostile ? ', beside attacks' : ''}; starts from ${source}`,
    comment: 'Drawn by `npm run test:soak`.',
    xName: 'days of the gateway',
    panels,
    bands: disturbances,
  });
}
