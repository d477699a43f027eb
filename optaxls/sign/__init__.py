"""Sign descent."""

from optaxls.sign.sign_descent import sign_descent as sign_descent
