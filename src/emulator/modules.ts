import { checkModule, type EmulatedModule, type ModuleId, nameOf } from './identity.ts';
import { Twin } from './twin.ts';

/** The registered modules, each with its twin. */
export class Modules {
  readonly #byName = new Map<string, { module: EmulatedModule; twin: Twin }>();

  /** Adds a module with an empty twin, or replaces the keys of an existing one. @throws RangeError for invalid ids or keys */
  add(module: EmulatedModule): void {
    checkModule(module);
    const twin = this.#byName.get(nameOf(module))?.twin ?? new Twin();
    this.#byName.set(nameOf(module), { module: { ...module }, twin });
  }

  /** @returns whether it existed */
  remove(module: ModuleId): boolean {
    return this.#byName.delete(nameOf(module));
  }

  find(module: ModuleId): EmulatedModule | undefined {
    return this.#byName.get(nameOf(module))?.module;
  }

  /** @throws RangeError if the module does not exist */
  twinOf(module: ModuleId): Twin {
    const known = this.#byName.get(nameOf(module));
    if (known === undefined) throw new RangeError(`Module ${nameOf(module)} does not exist.`);
    return known.twin;
  }

  all(): EmulatedModule[] {
    return [...this.#byName.values()].map(({ module }) => module);
  }
}
