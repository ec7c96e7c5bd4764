import type * as v from 'valibot';
import type { System } from './system.ts';
import type { Verdict } from './verdict.ts';

/** A check that rules can use. A rule gives the parameters; the primitive defines what is read, and how it is evaluated. */
export interface Primitive<P> {
  /** The name that rules use. */
  readonly name: string;
  /** What it checks, in one sentence. */
  readonly summary: string;
  readonly params: v.GenericSchema<unknown, P>;
  /** The expected state, as text. */
  expected(params: P): string;
  /** How to reach the expected state, in one sentence. */
  remedy(params: P): string;
  /** Checks the system. Never waits for other processes; throws only for a defect. */
  evaluate(params: P, system: System): Verdict | Promise<Verdict>;
}

/** Declares a primitive: `evaluate` gets parameters of the schema `params`. */
export const primitive = <S extends v.GenericSchema>(
  declaration: Omit<Primitive<v.InferOutput<S>>, 'params'> & { readonly params: S },
) => declaration;
