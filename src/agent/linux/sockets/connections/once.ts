/** Calls `answer` once for each question and caches the result. */
export function once<K, V>(answer: (question: K) => V): (question: K) => V {
  const answers = new Map<K, V>();
  return (question) => {
    if (!answers.has(question)) answers.set(question, answer(question));
    return answers.get(question) as V;
  };
}
