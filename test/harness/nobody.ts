/** Runs a function as an unprivileged user: the user who runs the tests, unless that is root. */
export async function asNobody<T>(work: () => Promise<T>): Promise<T> {
  const { geteuid, seteuid } = process;
  if (geteuid?.() !== 0) return work();
  seteuid?.(65_534);
  try {
    return await work();
  } finally {
    seteuid?.(0);
  }
}
