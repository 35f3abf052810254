"""Mutants on which the oracle and allframe differ, each with the reason."""

from __future__ import annotations

from typing import Final

__all__ = ["REASONS", "SURVIVORS"]

REASONS: Final[dict[str, str]] = {
    "believed": (
        "A step that does something was marked readonly=True. The mark says that it has no effect, and only its body could "
        "tell otherwise: no rule looks into bodies, so the mark is believed."
    ),
}

_BELIEVED: Final = (
    "forty.Checkout/add-option/pay.readonly=True",
    "Preorder/add-option/announce.readonly=True",
    "Auction/add-option/hand_over.readonly=True",
    "Trip/add-option/invoice.readonly=True",
    "Rebooking/add-option/mail.readonly=True",
    "GroupTour/add-option/guide.readonly=True",
    "Visa/add-option/fee.readonly=True",
    "SignUp/add-option/welcome.welcome.readonly=True",
    "Onboarding/add-option/welcome.welcome.readonly=True",
    "Twins/add-option/welcome.welcome.readonly=True",
    "Payout/add-option/send.readonly=True",
    "PayrollRun/add-option/pay_all.readonly=True",
    "Loan/add-option/disburse.readonly=True",
    "Dispute/add-option/settle.readonly=True",
    "VirtualMachine/add-option/register.readonly=True",
    "Container/add-option/scan.readonly=True",
    "Database/add-option/restore.readonly=True",
    "ResizeDisk/add-option/Resize.remount.readonly=True",
    "ResizeFleet/add-option/Resize.remount.readonly=True",
    "Certificate/add-option/install.readonly=True",
    "Backup/add-option/upload.readonly=True",
    "SendParcel/add-option/notify.readonly=True",
    "Freight/add-option/depart.readonly=True",
    "Customs/add-option/clear.readonly=True",
    "ColdChain/add-option/seal.readonly=True",
    "Publish/add-option/push.readonly=True",
    "Transcode/add-option/list_it.readonly=True",
    "Prescription/add-option/bill.readonly=True",
    "Permit/add-option/stamp.readonly=True",
    "BookTravel/add-option/send_sms.readonly=True",
    "clouds.ProcessOrder/add-option/notify_end.readonly=True",
    "TransferBetweenAccounts/add-option/issue_receipt.readonly=True",
    "CreateAndSubscribeUser/add-option/set_plan_for_a_user.readonly=True",
    "CreateAndSubscribeUserByHand/add-option/update_user.readonly=True",
    "MoveMoney/add-option/deposit.readonly=True",
    "TransferMoney/add-option/step_with_error.readonly=True",
    "Transfer/add-option/deposit.readonly=True",
)

#: By name, with the word for the reason.
SURVIVORS: Final[dict[str, str]] = dict.fromkeys(_BELIEVED, "believed")
