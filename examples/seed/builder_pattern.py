"""The seed, "Key Features / 4. Builder Pattern": a fluent API for putting sagas together.

It prints::

    <SagaDefinition 'transfer-saga': step1 -> step2 -> step3 -> step4>
    4 steps, not_started
"""

from __future__ import annotations

from allframe import SagaDefinition, SagaStatus, SagaStep


class Reversible(SagaStep, abstract=True):
    """What the four steps have in common."""

    account: str

    async def execute(self) -> str:
        return self.account

    async def compensate(self) -> None: ...


class Step1(Reversible):
    pass


class Step2(Reversible):
    pass


class Step3(Reversible):
    pass


class Step4(Reversible):
    pass


def main() -> None:
    saga = (
        SagaDefinition("transfer-saga")
        .add_step(Step1(account="A"))
        .add_step(Step2(account="B"))
        .add_step(Step3(account="C"))
        .add_step(Step4(account="D"))
    )

    # Metadata is automatically tracked
    assert saga.metadata().total_steps == 4
    assert saga.status() == SagaStatus.NOT_STARTED

    print(saga)
    print(f"{saga.metadata().total_steps} steps, {saga.status()}")


if __name__ == "__main__":
    main()
