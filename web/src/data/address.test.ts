// @vitest-environment jsdom
import { beforeEach, expect, test } from "vitest";
import { deploymentUrl, keepTried, policyAllows, tryDeployment } from "./address";

const THERE = "https://x.example";

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
});

test("another deployment is this tab's alone until it has let somebody in", () => {
  expect(tryDeployment(THERE)).toBeNull();
  expect(deploymentUrl()).toBe(THERE);
  expect(localStorage).toHaveLength(0);
  sessionStorage.clear();
  expect(deploymentUrl()).toBe(location.origin);
  tryDeployment(THERE);
  keepTried();
  sessionStorage.clear();
  expect(deploymentUrl()).toBe(THERE);
  tryDeployment("");
  expect(deploymentUrl()).toBe(location.origin);
  keepTried();
  expect([deploymentUrl(), localStorage.length]).toEqual([location.origin, 0]);
});

test("what is no deployment's address is not tried", () => {
  for (const text of ["x", "http://x.example", "javascript:alert(1)"]) expect(tryDeployment(text)).not.toBeNull();
  expect(deploymentUrl()).toBe(location.origin);
});

test("the page of an embedded deployment talks to no other one", () => {
  expect(policyAllows("default-src 'none'; connect-src 'self'; base-uri 'none'", THERE)).toBe(false);
  expect(policyAllows("connect-src 'self'", location.origin)).toBe(true);
  for (const policy of [null, "default-src 'none'", "connect-src 'self' https: wss:", `connect-src ${THERE}`]) expect(policyAllows(policy, THERE)).toBe(true);
  expect(policyAllows("connect-src 'self' https:, connect-src 'self'", THERE)).toBe(false);
});
