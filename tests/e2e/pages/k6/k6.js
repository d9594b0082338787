export const checks = {};

export function check(answer, conditions) {
  return Object.entries(conditions).every(([name, holds]) => {
    const passed = holds(answer);
    checks[name] = [...(checks[name] || []), passed];
    return passed;
  });
}
